"""Judges infra/terraform without its providers: every file parses, and what needs no provider is run.

Terraform itself runs a module only with its providers, which come from its registry. So the parts of the modules that are
language alone (variables with their rules, the monitors' texts) are copied into folders of their own and tested there.

Usage: terraform.py
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import hcl2
import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "infra/terraform"
TESTS = Path(__file__).resolve().parent / "terraform"


def parsed():
    files = sorted(MODULES.rglob("*.tf"))
    for file in files:
        with file.open(encoding="utf-8") as text:
            hcl2.load(text)
    print(f"ok: {len(files)} files parse")
    return files


def references(files):
    """Every variable and local that a module uses is declared in it, and every declared variable is used."""
    for folder in sorted({file.parent for file in files}):
        text = "\n".join(file.read_text(encoding="utf-8") for file in files if file.parent == folder)
        declared = set(re.findall(r'^variable "(\w+)"', text, re.M))
        used = set(re.findall(r"\bvar\.(\w+)", text))
        local_blocks = re.findall(r"^locals \{\n(.*?)^\}", text, re.M | re.S)
        local_names = {name for block in local_blocks for name in re.findall(r"^  (\w+) *=", block, re.M)}
        local_uses = set(re.findall(r"\blocal\.(\w+)", text))
        resources = set(re.findall(r'^resource "(\w+)" "(\w+)"', text, re.M))
        resource_uses = set(re.findall(r"(?<![\w.])((?:aws|datadog)_\w+)\.(\w+)\b", re.sub(r"data\.\w+\.\w+", "", text)))
        data = set(re.findall(r'^data "(\w+)" "(\w+)"', text, re.M))
        data_uses = set(re.findall(r"\bdata\.(\w+)\.(\w+)", text))
        for what, odd in {
            "variables not declared": used - declared, "variables not used": declared - used,
            "locals not declared": local_uses - local_names, "locals not used": local_names - local_uses,
            "resources not declared": resource_uses - resources, "data not declared": data_uses - data,
        }.items():
            if odd:
                sys.exit(f"FAILED: {folder.relative_to(ROOT)}: {what}: {sorted(odd)}")
    print("ok: what is used is declared, and what is declared is used")


def same_as_sam():
    """Both ways to install give the function the same settings, and watch the same."""
    sam = (ROOT / "infra/sam/template.yaml").read_text(encoding="utf-8")
    module = "\n".join(file.read_text(encoding="utf-8") for file in sorted(MODULES.glob("*.tf")))
    settings = set(re.findall(r"^        (\w+): ", sam.split("Variables:", 1)[1].split("\nResources:", 1)[0], re.M))
    plain = {name for name in settings if not name.endswith(("_SECRET_ARN", "_SSM_NAME"))}
    kept = {re.sub("_(SECRET_ARN|SSM_NAME)$", "", name) for name in settings - plain}
    alarms = {name for name in re.findall(r"AlarmName: !Sub \$\{AWS::StackName\}-([a-z-]+)", sam)}
    for name in sorted(plain | kept | alarms):
        if not re.search(rf"^ +{re.escape(name)} += ", module, re.M):
            sys.exit(f"FAILED: the template has {name}, and the module has not")
    if len(settings) < 10 or len(alarms) < 6:
        sys.exit(f"FAILED: the template is read wrong: {settings} {alarms}")
    print(f"ok: the module has the template's {len(plain | kept)} settings and {len(alarms)} alarms")


def well_formed():
    """What is given to be filled in can be read."""
    for folder in ("ecs", "envoy"):
        json.loads((ROOT / f"infra/{folder}/task-definition.json").read_text(encoding="utf-8"))
    for folder in ("compose", "envoy"):
        compose = yaml.safe_load((ROOT / f"infra/{folder}/compose.yaml").read_text(encoding="utf-8"))
        # The application is the reader's own.
        for name, service in compose["services"].items():
            if name != "application" and not (service["read_only"] and service["cap_drop"] == ["ALL"]):
                sys.exit(f"FAILED: compose: {name} may write or has capabilities")
    print("ok: task definition and compose file are well-formed")


def run(terraform, folder, test):
    for arguments in (["init", "-backend=false", "-input=false"], ["test"]):
        done = subprocess.run([terraform, f"-chdir={folder}", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"FAILED: terraform {arguments[0]} of {test}\n{done.stdout}{done.stderr}")
    (told,) = re.findall(r"\d+ passed, \d+ failed", done.stdout)
    print(f"ok: terraform test of the {test} module's own words: {told}")


def tested():
    terraform = shutil.which("terraform")
    if terraform is None:
        print("NOT RUN: terraform is not on this machine: neither its formatting nor the modules' rules were checked")
        return
    subprocess.run([terraform, f"-chdir={MODULES}", "fmt", "-check", "-recursive", "-diff"], check=True)
    print("ok: terraform fmt")
    first_locals = re.search(r"^locals \{\n.*?^\}", (MODULES / "datadog/main.tf").read_text(encoding="utf-8"), re.M | re.S)[0]
    for test, variables, more in (
        ("aws", MODULES / "variables.tf", ""),
        ("datadog", MODULES / "datadog/variables.tf", first_locals),
    ):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(variables, folder)
            (Path(folder) / "main.tf").write_text(more, encoding="utf-8")
            shutil.copy(TESTS / f"{test}.tftest.hcl", folder)
            run(terraform, folder, test)


if __name__ == "__main__":
    references(parsed())
    same_as_sam()
    well_formed()
    tested()
