import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

CLUSTER = Path(__file__).parents[3] / "cluster"
TEXT = (CLUSTER / "aws.yaml").read_text()


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load(TEXT)


@pytest.fixture(scope="module")
def account() -> dict[str, Any]:
    """Return the CloudFormation template; its short functions become what they apply to."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, _, node: loader.construct_scalar(node))
    return yaml.load((CLUSTER / "aws_account.yaml").read_text(), Loader)


def test_ray_accepts_the_file_as_it_reads_it(config: dict[str, Any]):
    validate_config(prepare_config(config))


def test_ray_refuses_a_key_that_it_does_not_know(config: dict[str, Any]):
    config["available_node_types"]["spot"]["spots"] = 1
    with pytest.raises(ValidationError, match="spots"):
        validate_config(prepare_config(config))


def test_no_work_lands_on_the_head(config: dict[str, Any]):
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0}


def test_workers_are_spot_first_and_on_demand_where_there_is_none(config: dict[str, Any]):
    spot, on_demand = (config["available_node_types"][name] for name in ("spot", "on_demand"))
    assert spot["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in on_demand["node_config"]
    assert spot["priority"] > on_demand.get("priority", 0)
    same = copy.deepcopy(spot["node_config"])
    del same["InstanceMarketOptions"]
    assert same == on_demand["node_config"]
    assert spot["min_workers"] == on_demand["min_workers"] == 0


def test_ray_makes_no_security_group_of_its_own_which_would_open_port_22_to_all(
    config: dict[str, Any],
):
    types = config["available_node_types"].values()
    assert all(kind["node_config"]["SecurityGroupIds"] for kind in types)


def test_the_security_group_lets_in_none_but_its_members(account: dict[str, Any]):
    resources = account["Resources"]
    assert "SecurityGroupIngress" not in resources["SecurityGroup"]["Properties"]
    rules = [
        rule["Properties"]
        for rule in resources.values()
        if rule["Type"] == "AWS::EC2::SecurityGroupIngress"
    ]
    assert [rule["SourceSecurityGroupId"] for rule in rules] == ["SecurityGroup"]
    assert all("CidrIp" not in rule for rule in rules)


def test_instances_get_the_roles_that_the_account_has(
    config: dict[str, Any], account: dict[str, Any]
):
    profiles = {
        resource["Properties"]["InstanceProfileName"]
        for resource in account["Resources"].values()
        if resource["Type"] == "AWS::IAM::InstanceProfile"
    }
    asked = {
        kind["node_config"]["IamInstanceProfile"]["Name"]
        for kind in config["available_node_types"].values()
    }
    assert asked == profiles


def test_workers_may_use_one_bucket_and_nothing_else_that_is_aws(account: dict[str, Any]):
    resources = account["Resources"]
    assert "Policies" not in resources["Worker"]["Properties"]
    statements = resources["Storage"]["Properties"]["PolicyDocument"]["Statement"]
    assert all(
        "${Bucket}" in statement["Resource"] and "*" not in str(statement["Action"])
        for statement in statements
    )


def test_roles_have_no_policies_of_others_but_those_that_are_meant(account: dict[str, Any]):
    registry = "arn:${AWS::Partition}:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
    sessions = "arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
    policies = {
        name: resource["Properties"]["ManagedPolicyArns"]
        for name, resource in account["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
    }
    assert policies == {
        "Worker": ["Storage", registry],
        "Head": ["Storage", registry, sessions],
    }


def rights(role: dict[str, Any]) -> dict[str, set[tuple[str, str]]]:
    """Return, by what a role may do, to what (all but: "not ...") and on which condition."""
    found: dict[str, set[tuple[str, str]]] = {}
    for policy in role["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            actions, to = statement["Action"], statement.get("Resource")
            to = to or f"not {statement['NotResource']}"
            equal = statement.get("Condition", {"StringEquals": {}})["StringEquals"]
            condition = " and ".join(f"{key} is {value}" for key, value in equal.items())
            for action in [actions] if isinstance(actions, str) else actions:
                found.setdefault(action, set()).add((to, condition))
    return found


def test_the_head_changes_the_clusters_instances_alone_and_makes_no_other_one_of_them(
    config: dict[str, Any], account: dict[str, Any]
):
    instances, cluster = "arn:${AWS::Partition}:ec2:*:*:instance/*", config["cluster_name"]
    ours = (instances, f"aws:ResourceTag/ray-cluster-name is {cluster}")
    assert rights(account["Resources"]["Head"]) == {
        "ec2:Describe*": {("*", "")},
        "ssm:GetParameters": {("*", "")},
        "ec2:RunInstances": {
            (instances, f"aws:RequestTag/ray-cluster-name is {cluster}"),
            (f"not {instances}", ""),
        },
        "ec2:CreateTags": {ours, (instances, "ec2:CreateAction is RunInstances")},
        "ec2:TerminateInstances": {ours},
        "iam:PassRole": {("Worker.Arn", "")},
        "iam:GetInstanceProfile": {("WorkerProfile.Arn", "")},
    }


def test_the_token_is_brought_to_all_nodes_and_stands_in_no_command(config: dict[str, Any]):
    assert config["file_mounts"] == {"/home/ray/.ray/auth_token": "~/.ray/auth_token"}
    assert not re.search(r"AUTH_TOKEN=|disabled", TEXT)


def test_the_dashboard_listens_on_the_head_alone(config: dict[str, Any]):
    assert any("--dashboard-host=127.0.0.1" in line for line in config["head_start_ray_commands"])


def test_what_is_to_be_filled_in_is_what_the_account_says(account: dict[str, Any]):
    outputs = {re.sub("([a-z])([A-Z])", r"\1-\2", name).lower() for name in account["Outputs"]}
    assert set(re.findall("<([a-z-]+)>", TEXT)) == outputs
