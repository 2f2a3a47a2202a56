"""Deploys infra/sam into an AWS emulator on loopback, and lets a notification take the whole way.

The template is translated as AWS does it, and deployed as a CloudFormation stack. Resource types that the emulator's
CloudFormation passes over are made from the same translated template by their own APIs. The emulator runs no functions,
so what its queue holds is handed to the compiled `bootstrap`, in the environment that the stack gave the function.

What the emulator does not do is not tested here: it enforces no policy of topics, queues, keys and roles. Those are
judged as text.

Usage: deploy.py BOOTSTRAP DEPLOYED_BIN CUTOUT LOG_FILE
"""

import base64
import io
import json
import logging
import os
import subprocess
import sys
import zipfile
from pathlib import Path

os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="eu-west-1",
    AWS_EC2_METADATA_DISABLED="true",
    MOTO_ALLOW_NONEXISTENT_REGION="false",
)

import boto3
from moto import settings as _  # noqa: F401  (fails early if the emulator is not there)
from moto.server import ThreadedMotoServer
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

logging.getLogger("werkzeug").setLevel(logging.ERROR)
ROOT = Path(__file__).resolve().parents[2]
ACCOUNT, REGION = "123456789012", "eu-west-1"
LAYER = f"arn:aws:lambda:{REGION}:015030872274:layer:AWS-Parameters-and-Secrets-Lambda-Extension-Arm64:18"
DATADOG_ROLE = f"arn:aws:iam::{ACCOUNT}:role/DatadogIntegrationRole"
CANARY = "canary-secret"
# As tests/support/canary.rs has them.
SECRETS = {
    "DatadogApiKey": f"{CANARY}-dd-api-key",
    "DatadogAppKey": f"{CANARY}-dd-app-key",
    "SigningSecrets": "whsec_Y2FuYXJ5LXNlY3JldC1zaWduaW5nLWtleS1udW1iZXItMQ==",
}
# What the emulator's CloudFormation makes itself; everything else is made here, or it is an error.
BY_STACK = {
    "AWS::KMS::Key", "AWS::SNS::Topic", "AWS::SQS::Queue", "AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping",
    "AWS::Events::Rule", "AWS::Logs::LogGroup", "AWS::IAM::Role",
}


def check(condition, what):
    if not condition:
        raise SystemExit(f"FAILED: {what}")


class Aws:
    """Clients of the emulator, and of nothing else."""

    def __init__(self, url):
        self.url = url

    def __getattr__(self, service):
        return boto3.client(service, endpoint_url=self.url, region_name=REGION)


class Stack:
    """The template, deployed with some parameters."""

    def __init__(self, aws, name, parameters, bucket):
        self.aws, self.name, self.parameters = aws, name, parameters
        template = yaml_parse((ROOT / "infra/sam/template.yaml").read_text())
        # What `sam package` does.
        template["Globals"]["Function"]["CodeUri"] = bucket
        self.parameters = {
            key: str(parameters.get(key, spec.get("Default", ""))) for key, spec in template["Parameters"].items()
        }
        self.template = transform(template, dict(self.parameters), ManagedPolicyLoader(aws.iam))
        self.template["Conditions"] = template["Conditions"]
        self.conditions = {key: self.resolve(rule) for key, rule in template["Conditions"].items()}
        self.physical = {}
        self.deploy()

    def resources(self, kind):
        """The resources of a kind that exist under the stack's conditions, resolved."""
        for logical, resource in self.template["Resources"].items():
            if resource["Type"] == kind and self.conditions.get(resource.get("Condition"), True):
                yield logical, self.resolve(resource["Properties"])

    def resolve(self, value):
        """CloudFormation's functions, as far as the template uses them."""
        if isinstance(value, list):
            items = [self.resolve(item) for item in value]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self.ref(argument)
            if name == "Condition" and isinstance(argument, str):
                return self.conditions[argument]
            if name == "Fn::If":
                return self.resolve(argument[1 if self.conditions[argument[0]] else 2])
            if name == "Fn::Equals":
                return self.resolve(argument[0]) == self.resolve(argument[1])
            if name == "Fn::Not":
                return not self.resolve(argument[0])
            if name == "Fn::Join":
                return argument[0].join(self.resolve(argument[1]))
            if name == "Fn::GetAtt":
                return self.attribute(argument if isinstance(argument, list) else argument.split("."))
            if name == "Fn::Sub":
                text = argument
                for key in set(part.split("}")[0] for part in argument.split("${")[1:]):
                    text = text.replace("${" + key + "}", str(self.ref(key)))
                return text
            check(not name.startswith("Fn::"), f"{name} is not known here")
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NO_VALUE}

    def ref(self, name):
        pseudo = {
            "AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::StackName": self.name,
            "AWS::NoValue": NO_VALUE,
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.parameters:
            text = self.parameters[name]
            return [item for item in text.split(",") if item] if name in ("SubnetIds", "SecurityGroupIds") else text
        return self.physical[name]

    def attribute(self, path):
        logical, attribute = path
        kind, physical = self.template["Resources"][logical]["Type"], self.physical[logical]
        if kind == "AWS::SQS::Queue":
            name = physical.rsplit("/", 1)[-1]
            return {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", "QueueName": name}[attribute]
        check(attribute == "Arn", f"attribute {path}")
        return {
            "AWS::KMS::Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{physical}",
            "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{physical}",
            "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{physical}:*",
            "AWS::Events::Rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{physical}",
            "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{physical}",
        }[kind]

    def deploy(self):
        by_stack = {key: dict(each) for key, each in self.template["Resources"].items() if each["Type"] in BY_STACK}
        for resource in by_stack.values():
            after = resource.pop("DependsOn", [])
            after = [each for each in ([after] if isinstance(after, str) else after) if each in by_stack]
            resource.update({"DependsOn": after} if after else {})
        self.aws.cloudformation.create_stack(
            StackName=self.name,
            TemplateBody=json.dumps({**self.template, "Resources": by_stack}),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        status = self.aws.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"]
        check(status == "CREATE_COMPLETE", f"stack {self.name}: {status}")
        made = self.aws.cloudformation.describe_stack_resources(StackName=self.name)["StackResources"]
        named = [each for each in made if "LogicalResourceId" in each]
        self.physical = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in named}
        for logical, resource in self.template["Resources"].items():
            wanted = self.conditions.get(resource.get("Condition"), True)
            if resource["Type"] in BY_STACK:
                check((logical in self.physical) == wanted, f"{logical} of {self.name}")
            elif wanted:
                getattr(self, "make_" + resource["Type"].replace("::", "_"))(self.resolve(resource["Properties"]))

    # What the emulator's CloudFormation passes over, or makes of a template's conditions what AWS would not.

    def make_AWS_IAM_Policy(self, made):
        for role in made["Roles"]:
            document = json.dumps(made["PolicyDocument"])
            self.aws.iam.put_role_policy(RoleName=role, PolicyName=made["PolicyName"], PolicyDocument=document)

    def make_AWS_SNS_Subscription(self, made):
        self.aws.sns.subscribe(
            TopicArn=made["TopicArn"], Protocol=made["Protocol"], Endpoint=made["Endpoint"],
            Attributes={"RedrivePolicy": json.dumps(made["RedrivePolicy"])},
        )

    def make_AWS_SNS_TopicPolicy(self, made):
        for topic in made["Topics"]:
            policy = json.dumps(made["PolicyDocument"])
            self.aws.sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)

    def make_AWS_SQS_QueuePolicy(self, made):
        for queue in made["Queues"]:
            self.aws.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(made["PolicyDocument"])})

    def make_AWS_Lambda_Permission(self, made):
        self.aws.__getattr__("lambda").add_permission(StatementId=made["Principal"].split(".")[0], **made)

    def make_AWS_Lambda_EventInvokeConfig(self, made):
        self.aws.__getattr__("lambda").put_function_event_invoke_config(**made)

    def make_AWS_Logs_MetricFilter(self, made):
        made = {key[0].lower() + key[1:]: value for key, value in made.items()}
        lower = [{key[0].lower() + key[1:]: value for key, value in each.items()} for each in made["metricTransformations"]]
        self.aws.logs.put_metric_filter(**{**made, "filterName": lower[0]["metricName"], "metricTransformations": lower})

    def make_AWS_CloudWatch_Alarm(self, made):
        self.aws.cloudwatch.put_metric_alarm(**made)

    def function(self, logical):
        """A function's configuration as it was deployed."""
        return self.aws.__getattr__("lambda").get_function_configuration(FunctionName=self.physical[logical])


NO_VALUE = object()


class Function:
    """The compiled function, with a Datadog and a service beside it."""

    def __init__(self, deployed_bin, log):
        self.process = subprocess.Popen(
            [deployed_bin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        self.service = self.read()["service"]

    def read(self):
        line = self.process.stdout.readline()
        check(line, "the function's stand-ins ended; the log tells why")
        return json.loads(line)

    def tell(self, line):
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()

    def set_up(self, bootstrap, variables, secrets):
        self.tell({"bootstrap": bootstrap, "variables": variables, "secrets": secrets})

    def handle(self, event, service_status=200):
        self.tell({"event": event, "service_status": service_status})
        return self.read()

    def end(self):
        self.process.stdin.close()
        check(self.process.wait(timeout=20) == 0, "the stand-ins end well")


def code(aws, bootstrap):
    """The bootstrap in a bucket, as `sam package` leaves it."""
    aws.s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("bootstrap", Path(bootstrap).read_bytes()[:1024])
    aws.s3.put_object(Bucket="code", Key="cutout.zip", Body=zipped.getvalue())
    return {"Bucket": "code", "Key": "cutout.zip"}


def kept_secrets(aws):
    """The three secrets in both stores, and the parameters that name them."""
    arns, names = {}, {}
    for parameter, text in SECRETS.items():
        arns[parameter] = aws.secretsmanager.create_secret(Name=f"cutout/{parameter}", SecretString=text)["ARN"]
        names[parameter] = f"/cutout/{parameter}"
        aws.ssm.put_parameter(Name=names[parameter], Value=text, Type="SecureString")
    return {"SecretsManager": arns, "ParameterStore": names}


def read_secrets(aws, variables):
    """What the extension would read for a function in this environment."""
    texts = {}
    for name, value in variables.items():
        if value and name.endswith("_SECRET_ARN"):
            texts[value] = aws.secretsmanager.get_secret_value(SecretId=value)["SecretString"]
        if value and name.endswith("_SSM_NAME"):
            texts[value] = aws.ssm.get_parameter(Name=value, WithDecryption=True)["Parameter"]["Value"]
    check(len(texts) == 3, f"three secrets are named: {variables}")
    return texts


def alert(service):
    """A monitor's notification as Datadog publishes it: subject and text."""
    fixture = ROOT / "tests/fixtures/constructed/sns/text_alert.json"
    sns = json.loads(fixture.read_text())["Records"][0]["Sns"]
    url = "https://service-a.example.internal/dd_circuit_breaker/callback"
    check(url in sns["Message"], "the fixture names the service")
    return sns["Subject"], sns["Message"].replace(url, service)


def batch(aws, mapping, queue_url):
    """What Lambda would take from the queue for one invocation, as the mapping says."""
    size = mapping["BatchSize"]
    taken = aws.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=size, AttributeNames=["All"], WaitTimeSeconds=1)
    messages = taken.get("Messages", [])
    records = [
        {
            "messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"],
            "attributes": message["Attributes"], "messageAttributes": {}, "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs", "eventSourceARN": mapping["EventSourceArn"], "awsRegion": REGION,
        }
        for message in messages
    ]
    return messages, {"Records": records}


def settle(aws, queue_url, messages, outcome):
    """What Lambda does after an invocation: deletes what is done, leaves the rest to come again (here at once)."""
    if "error" in outcome:
        failed = {message["MessageId"] for message in messages}
    else:
        failed = {each["itemIdentifier"] for each in (outcome["answer"] or {}).get("batchItemFailures", [])}
    for message in messages:
        handle = message["ReceiptHandle"]
        if message["MessageId"] in failed:
            aws.sqs.change_message_visibility(QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=0)
        else:
            aws.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=handle)


def held(aws, queue_url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = aws.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    return sum(int(count) for count in counts.values())


def judge_by_queue(aws, stack, function):
    """A notification takes the queue's way; one that cannot be delivered ends with the dead letters."""
    queue, dead = stack.physical["Queue"], stack.physical["DeadLetterQueue"]
    ((_, mapping),) = stack.resources("AWS::Lambda::EventSourceMapping")
    check(mapping["BatchSize"] == 1 and mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"], "the mapping")
    check(int(mapping["ScalingConfig"]["MaximumConcurrency"]) == 10, "the mapping's concurrency")
    attributes = aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    timeout = stack.function("NotificationFunction")["Timeout"]
    check(int(attributes["VisibilityTimeout"]) >= 6 * timeout == 120, "visibility is six times the timeout")

    # The emulator would take messages out of the queue to run the function in a container, which it cannot.
    uuid = stack.physical["QueueMapping"]
    aws.__getattr__("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)

    subject, text = alert(function.service)
    publish = lambda message: aws.sns.publish(TopicArn=stack.physical["Topic"], Subject=subject, Message=message)
    publish(text)
    messages, event = batch(aws, mapping, queue)
    check(len(messages) == 1 and json.loads(messages[0]["Body"])["Message"] == text, "the topic fills the queue")
    outcome = function.handle(event)
    check("answer" in outcome and outcome["answer"] is None, f"the notification is delivered: {outcome}")
    (callback,) = outcome["callbacks"]
    check(callback["monitor_id"] == 7300001 and callback["reason"] == "notification", f"the callback: {callback}")
    check(len(callback["report"]["groups"]) > 1 and callback["to"] == function.service, "the report")
    settle(aws, queue, messages, outcome)
    check(held(aws, queue) == 0, "what is done leaves the queue")
    print("ok: a notification published to the topic arrived through the queue, and was delivered")

    publish(text)
    tries = 0
    while held(aws, queue) and tries < 20:
        messages, event = batch(aws, mapping, queue)
        if not messages:
            break
        outcome = function.handle(event, service_status=503)
        check(outcome.get("error", {}).get("errorType") == "Cutout.deliver", f"an error: {outcome}")
        settle(aws, queue, messages, outcome)
        tries += 1
    check(tries == 5 and held(aws, queue) == 0 and held(aws, dead) == 1, f"dead letters after {tries} tries")
    letter = aws.sqs.receive_message(QueueUrl=dead)["Messages"][0]
    check(json.loads(letter["Body"])["Message"] == text, "the dead letter is the notification")
    aws.sqs.change_message_visibility(QueueUrl=dead, ReceiptHandle=letter["ReceiptHandle"], VisibilityTimeout=0)
    print("ok: what a service refuses five times ends with the dead letters, whole")
    judge_redrive(aws, stack, function, mapping, text)

    # A larger batch than the template's, as somebody may set it: only what failed stays.
    for message in [text, "circuit-breaker-callback: https://service-a.example.internal/", "no directive"]:
        publish(message)
    messages, event = batch(aws, {**mapping, "BatchSize": 10}, queue)
    outcome = function.handle(event)
    failed = outcome["answer"]["batchItemFailures"]
    check(len(messages) == 3 and len(failed) == 1 and len(outcome["callbacks"]) == 1, f"one of three fails: {outcome}")
    settle(aws, queue, messages, outcome)
    messages, _ = batch(aws, mapping, queue)
    check(messages[0]["MessageId"] == failed[0]["itemIdentifier"] and held(aws, queue) == 1, "it alone comes again")
    settle(aws, queue, messages, {"answer": None})
    print("ok: of a batch only the message that failed comes again")


def redrive(aws, *arguments, **variables):
    """`cutout redrive`: how it ended, and what it printed."""
    environment = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    environment.update(AWS_ENDPOINT_URL=aws.url, **variables)
    ended = subprocess.run(
        [CUTOUT, "redrive", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr


def judge_redrive(aws, stack, function, mapping, text):
    """The dead letter is shown, and nothing moves; then it goes back, and through the function."""
    queue, dead = stack.physical["Queue"], stack.physical["DeadLetterQueue"]
    name = dead.rsplit("/", 1)[-1]
    code, told = redrive(aws, "--queue", name)
    check(code == 0 and "1 messages" in told and "monitor 7300001" in told and "nothing was sent" in told, f"the dry run: {told}")
    check(queue.rsplit("/", 1)[-1] in told, f"it finds the way back: {told}")
    check(held(aws, dead) == 1 and held(aws, queue) == 0, "the dry run moves nothing")
    code, told = redrive(aws, "--queue", queue.rsplit("/", 1)[-1])
    check(code == 2 and "no queue sends its dead letters there" in told, f"a queue that is none of dead letters: {code} {told}")
    code, told = redrive(aws, "--queue", "no-such-queue")
    check(code == 1 and "does not exist" in told, f"no such queue: {code} {told}")
    code, told = redrive(aws, "--queue", name, AWS_ACCESS_KEY_ID="")
    check(code == 2 and "AWS_ACCESS_KEY_ID" in told, f"no credentials: {code} {told}")
    check("testing" not in told, "no key is shown")

    code, told = redrive(aws, "--queue", name, "--go")
    check(code == 0 and "1 sent, 0 failed" in told, f"it is sent: {code} {told}")
    check(held(aws, dead) == 0 and held(aws, queue) == 1, "it is back in the queue, and in the dead letters no more")
    messages, event = batch(aws, mapping, queue)
    outcome = function.handle(event)
    check(outcome.get("answer", "") is None and len(outcome["callbacks"]) == 1, f"it is delivered: {outcome}")
    check(json.loads(messages[0]["Body"])["Message"] == text, "it is whole")
    settle(aws, queue, messages, outcome)
    code, told = redrive(aws, "--queue", name, "--go")
    check(code == 0 and "0 sent, 0 failed" in told, f"an empty queue: {code} {told}")
    print("ok: a dead letter is shown, sent back and delivered by cutout redrive")


def judge_direct(aws, stack):
    """The topic calls the function; what it gives up goes to the dead letters from both ends."""
    subscriptions = aws.sns.list_subscriptions_by_topic(TopicArn=stack.physical["Topic"])["Subscriptions"]
    (subscription,) = subscriptions
    name = stack.physical["NotificationFunction"]
    check(subscription["Protocol"] == "lambda" and subscription["Endpoint"].endswith(f":{name}"), "the subscription")
    dead = stack.attribute(["DeadLetterQueue", "Arn"])
    attributes = aws.sns.get_subscription_attributes(SubscriptionArn=subscription["SubscriptionArn"])["Attributes"]
    check(json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"] == dead, "the subscription's dead letters")
    config = aws.__getattr__("lambda").get_function_event_invoke_config(FunctionName=name)
    check(config["MaximumRetryAttempts"] == 2, "async retries")
    check(config["DestinationConfig"]["OnFailure"]["Destination"] == dead, "the failure destination")
    check("Queue" not in stack.physical, "no queue")
    print("ok: direct delivery is deployed with retries and dead letters")


def judge_reconcile(aws, stack, function):
    """What the schedule sends makes the second function run."""
    rule = stack.physical["ReconcileSchedule"]
    described = aws.events.describe_rule(Name=rule)
    check(described["ScheduleExpression"] == "rate(1 minute)" and described["State"] == "ENABLED", "the schedule")
    (target,) = aws.events.list_targets_by_rule(Rule=rule)["Targets"]
    check(target["Arn"].endswith(f":{stack.physical['ReconcileFunction']}"), "the schedule's target")
    check(stack.function("ReconcileFunction")["Timeout"] == 55, "the run's time")
    ((_, config),) = [
        each for each in stack.resources("AWS::Lambda::EventInvokeConfig") if "econcile" in str(each[1]["FunctionName"])
    ]
    check(config["MaximumRetryAttempts"] == 0, "a run is not tried again")
    reserved = [made.get("ReservedConcurrentExecutions") for _, made in stack.resources("AWS::Lambda::Function")]
    check(sorted(reserved, key=str) == [1, None], "one run at a time")
    outcome = function.handle(json.loads(target["Input"]))
    check("answer" in outcome and outcome["answer"] is None, f"the run: {outcome}")
    schemas = [callback["schema"] for callback in outcome["callbacks"]]
    check(schemas == ["cutout.callback/1", "cutout.inventory/1"], f"report and inventory: {schemas}")
    print("ok: the schedule's own event made a complete run")


def judge_policies(stack):
    """The words of the policies: who may publish, and what the functions may do."""
    ((_, topic_policy),) = stack.resources("AWS::SNS::TopicPolicy")
    allowed = [each for each in topic_policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    check([each["Principal"] for each in allowed] == [{"AWS": DATADOG_ROLE}], "only Datadog's role publishes")
    policies = [made["PolicyDocument"] for kind in ("AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy") for _, made in stack.resources(kind)]
    for policy in policies:
        denied = [each for each in policy["Statement"] if each["Effect"] == "Deny" and "Bool" in each["Condition"]]
        check(denied and denied[0]["Condition"]["Bool"] == {"aws:SecureTransport": "false"}, f"TLS only: {policy}")
    for logical, made in stack.resources("AWS::IAM::Policy"):
        for statement in made["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            check(not any("*" in action for action in actions), f"{logical}: {actions}")
            everywhere = statement["Effect"] == "Allow" and statement["Resource"] == "*"
            aws_demands = all(action.startswith(("xray:", "ec2:")) for action in actions)
            check(not everywhere or aws_demands, f"{logical}: {statement}")
    for _, role in stack.resources("AWS::IAM::Role"):
        check("ManagedPolicyArns" not in role and "Policies" not in role, "roles have the policies of this template alone")
    for kind in ("AWS::SNS::Topic", "AWS::SQS::Queue"):
        check(all(made["KmsMasterKeyId"] for _, made in stack.resources(kind)), f"{kind} is encrypted")
    kinds = ["dead-letters", "notification-errors", "notification-throttles", "reconcile-silent", "reconcile-undelivered"]
    alarms = {made["AlarmName"] for _, made in stack.resources("AWS::CloudWatch::Alarm")}
    check({f"{stack.name}-{kind}" for kind in kinds} <= alarms, f"alarms: {alarms}")
    run_book = (ROOT / "docs/run-book.md").read_text(encoding="utf-8")
    for alarm in alarms:
        heading = alarm.removeprefix(f"{stack.name}-").replace("-", " ")
        check(f"\n## {heading}\n" in run_book, f"the run book tells of {heading}")


def main():
    global CUTOUT
    bootstrap, deployed_bin, CUTOUT, log_path = sys.argv[1:]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    aws = Aws(f"http://{host}:{port}")
    bucket, secrets = code(aws, bootstrap), kept_secrets(aws)
    base = {"DatadogRoleArn": DATADOG_ROLE, "ExtensionLayerArn": LAYER, "CallbackAllow": "*.svc.example.com", "CallbackAllowCidr": "127.0.0.0/8"}
    stacks = 0
    with open(log_path, "w", encoding="utf-8") as log:
        for delivery in ("queue", "direct"):
            for kept in secrets:
                vpc = {"SubnetIds": "subnet-11111111", "SecurityGroupIds": "sg-11111111"} if kept == "ParameterStore" else {}
                name = f"cutout-{delivery}-{kept.lower()}"
                parameters = {**base, **secrets[kept], **vpc, "SecretsIn": kept, "Delivery": delivery, "TopicName": name}
                stack = Stack(aws, name, parameters, bucket)
                stacks += 1
                judge_policies(stack)
                configuration = stack.function("NotificationFunction")
                check(configuration["Runtime"] == "provided.al2023", "the runtime")
                made = [made for _, made in stack.resources("AWS::Lambda::Function")]
                check(len(made) == 2 and all(each["Architectures"] == ["arm64"] for each in made), "the architecture")
                check(all(bool(each.get("VpcConfig")) == bool(vpc) for each in made), "the network")
                variables = configuration["Environment"]["Variables"]
                check(not any(CANARY in value or "whsec_" in value for value in variables.values()), "no secret is in the environment")
                function = Function(deployed_bin, log)
                function.set_up(bootstrap, variables, read_secrets(aws, variables))
                if delivery == "queue":
                    judge_by_queue(aws, stack, function)
                else:
                    judge_direct(aws, stack)
                judge_reconcile(aws, stack, function)
                function.end()
    lines = Path(log_path).read_text(encoding="utf-8")
    spellings = [CANARY] + [base64.b64encode(("x" * pad + CANARY).encode()).decode()[4:-4] for pad in range(3)]
    check(lines.count("\n") >= 4 and not any(each in lines for each in spellings), "the function's log holds no secret")
    server.stop()
    print(f"{stacks} passed, 0 failed")


if __name__ == "__main__":
    main()
