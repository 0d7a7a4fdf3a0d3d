"""An extension as a layer, a function with it, and no permission that neither needs."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam, aws_lambda as lambda_, aws_logs as logs

NAME = "my-extension"


def add_extension(stack: cdk.Stack, organization: str | None) -> lambda_.LayerVersion:
    """Publish the layer; other accounts of an organization may use it."""
    layer = lambda_.LayerVersion(
        stack,
        "ExtensionLayer",
        layer_version_name=NAME,
        code=lambda_.Code.from_asset(f"{NAME}.zip"),
        compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
        compatible_architectures=[lambda_.Architecture.X86_64],
        removal_policy=cdk.RemovalPolicy.RETAIN,  # functions of others may use the version before
    )
    if organization:
        layer.add_permission("Organization", account_id="*", organization_id=organization)
    cdk.CfnOutput(stack, "LayerArn", value=layer.layer_version_arn)
    return layer


def add_function(stack: cdk.Stack, layer: lambda_.LayerVersion) -> None:
    """Give the layer to a function, which may write its log and nothing else."""
    log_group = logs.LogGroup(
        stack, "FunctionLogs", retention=logs.RetentionDays.TWO_WEEKS, removal_policy=cdk.RemovalPolicy.DESTROY
    )
    role = iam.Role(stack, "FunctionRole", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    log_group.grant_write(role)
    lambda_.Function(
        stack,
        "Function",
        code=lambda_.Code.from_asset("function"),
        handler="app.handler",
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=lambda_.Architecture.X86_64,
        timeout=cdk.Duration.seconds(10),
        role=role,
        layers=[layer],
        log_group=log_group,
    )


app = cdk.App()
main = cdk.Stack(app, NAME)
add_function(main, add_extension(main, app.node.try_get_context("organization")))
app.synth()
