"""Judges infra/terraform without its providers: every file parses, and what needs no provider is run.

Terraform itself runs a module only with its providers, which come from its registry. So the parts of the modules that are
language alone (variables with their rules, the monitors' texts) are copied into folders of their own and tested there.
The monitors are also planned, with Terraform's own `terraform_data` in the place of Datadog's resource, and the plan is judged by
`cutout lint`. Datadog's provider would add its defaults, and refuse what it does not know: that is not tried.

Usage: terraform.py <cutout>             judges
       terraform.py --plan <file>        writes the plan that tests/lint reads
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
PLAN = ROOT / "tests/lint/plan.json"


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


MONITOR = re.compile(r'^resource "datadog_monitor" "(\w+)" \{\n(.*?)^\}', re.M | re.S)
META = re.compile(r"^  (?:for_each|count) +=.*\n", re.M)
BLOCK = re.compile(r"^  (monitor_thresholds) \{\n(.*?)^  \}", re.M | re.S)


def standing_in(text):
    """A module's language with Terraform's own resource, which keeps any value, in the place of Datadog's."""

    def resource(found):
        name, body = found.groups()
        meta = "".join(META.findall(body))
        body = BLOCK.sub(r"  \1 = [{\n\2  }]", META.sub("", body))
        return f'resource "terraform_data" "{name}" {{\n{meta}  input = {{\n{body}  }}\n}}'

    text = MONITOR.sub(resource, text).replace("datadog_monitor.", "terraform_data.")
    return re.sub(r"  required_providers \{.*?^  \}\n", "", text, flags=re.M | re.S)


def as_datadogs(module):
    """The plan as Datadog's provider would name it."""
    for resource in module.get("resources", []):
        resource.update(
            address=resource["address"].replace("terraform_data.", "datadog_monitor."),
            type="datadog_monitor",
            provider_name="registry.terraform.io/datadog/datadog",
            values=resource["values"]["input"],
            sensitive_values={},
        )
    for child in module.get("child_modules", []):
        as_datadogs(child)


def planned(terraform):
    """The plan of the complete example's monitors, of the module's, and of infra/datadog's."""
    example = (MODULES / "examples/complete/main.tf").read_text(encoding="utf-8")
    local = re.search(r"^locals \{\n.*?^\}", example, re.M | re.S)[0]
    monitors = re.search(r'^module "monitors" \{\n.*?^\}', example, re.M | re.S)[0]
    monitors = monitors.replace("../../datadog", "./module").replace("module.cutout.topic_name", '"cutout-notifications"')
    monitors = monitors.replace("module.cutout.dead_letter_queue.name", '"cutout-dead-letters"')
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for source, target in ((MODULES / "datadog", "module"), (ROOT / "infra/datadog", "ready")):
            (folder / target).mkdir()
            for file in source.glob("*.tf"):
                text = standing_in(file.read_text(encoding="utf-8"))
                (folder / target / file.name).write_text(text, encoding="utf-8")
        shutil.copy(ROOT / "infra/datadog/monitor.json", folder / "ready")
        main = f'{local}\n\n{monitors}\n\nmodule "ready" {{\n  source = "./ready"\n}}\n'
        (folder / "main.tf").write_text(main, encoding="utf-8")
        shown = ""
        for arguments in (["init", "-backend=false", "-input=false"], ["plan", "-out=plan", "-input=false"], ["show", "-json", "plan"]):
            done = subprocess.run([terraform, f"-chdir={folder}", *arguments], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                sys.exit(f"FAILED: terraform {arguments[0]} of the monitors\n{done.stdout}{done.stderr}")
            shown = done.stdout
    plan = json.loads(shown)
    as_datadogs(plan["planned_values"]["root_module"])
    return {"format_version": plan["format_version"], "planned_values": plan["planned_values"]}


def linted(cutout):
    terraform = shutil.which("terraform")
    if terraform is None:
        print("NOT RUN: the modules' monitors were not planned anew: tests/lint/plan.json is believed")
    elif planned(terraform)["planned_values"] != json.loads(PLAN.read_text(encoding="utf-8"))["planned_values"]:
        sys.exit(f"FAILED: {PLAN.relative_to(ROOT)} is old: tests/aws/terraform.py --plan {PLAN.relative_to(ROOT)}")
    lint = [cutout, "lint", "--strict", "--allow", "*.svc.example.com,service-a.example.internal"]
    files = [str(PLAN), str(ROOT / "infra/datadog/monitor.json")]
    done = subprocess.run([*lint, *files], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"FAILED: cutout lint: {done.stdout}{done.stderr}")
    print(f"ok: cutout lint of the ready monitors: {done.stdout.strip()}")


if __name__ == "__main__":
    if sys.argv[1] == "--plan":
        plan = json.dumps(planned("terraform"), indent=2, ensure_ascii=False)
        Path(sys.argv[2]).write_text(plan + "\n", encoding="utf-8")
        sys.exit()
    references(parsed())
    same_as_sam()
    well_formed()
    tested()
    linted(sys.argv[1])
