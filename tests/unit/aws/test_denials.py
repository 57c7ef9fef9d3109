"""Each policy of AWS that can deny a request is named, in the words that AWS documents, with who can change it."""

import pytest

from genai_pipeline.gateways.aws.denials import denial, safe_words

USER = "User: arn:aws:sts::123456789012:assumed-role/genai-pipeline/eks-genai-a1b2"
ACTION = "is not authorized to perform: s3:PutObject on resource: arn:aws:s3:::genai/k"


@pytest.mark.parametrize(
    ("code", "message", "what", "remedy", "may_pass"),
    [
        ("AccessDenied", f"{USER} {ACTION} because no identity-based policy allows the s3:PutObject action",
         "No identity-based policy allows s3:PutObject", "Grant it to the role", True),
        ("AccessDenied", f"{USER} {ACTION} with an explicit deny in a service control policy: "
         "arn:aws:organizations::9:policy/o-1/service_control_policy/p-2",
         "service control policy arn:aws:organizations::9:policy/o-1/service_control_policy/p-2 denies s3:PutObject",
         "administrators of the AWS organization", False),
        ("AccessDeniedException", f"{USER} {ACTION} because no service control policy allows the s3:PutObject action",
         "No service control policy allows s3:PutObject", "administrators of the AWS organization", False),
        ("AccessDenied", f"{USER} {ACTION} with an explicit deny in a resource control policy",
         "resource control policy denies", "administrators of the AWS organization", False),
        ("AccessDenied", f"{USER} {ACTION} because no permissions boundary allows the s3:PutObject action",
         "No permissions boundary allows s3:PutObject", "boundary", False),
        ("AccessDenied", f"{USER} {ACTION} with an explicit deny in a VPC endpoint policy",
         "VPC endpoint policy denies", "VPC endpoint", False),
        ("AccessDenied", f"{USER} {ACTION} with an explicit deny in an identity-based policy",
         "identity-based policy denies", "Remove the deny", False),
        ("AccessDenied", f"{USER} is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-west-1:1:key/2 "
         "because no resource-based policy allows the kms:Decrypt action",
         "No resource-based policy allows kms:Decrypt", "of the bucket or of the key", False),
        ("AccessDenied", f"{USER} is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-west-1:1:key/2 "
         "because no identity-based policy allows the kms:Decrypt action",
         "No identity-based policy allows kms:Decrypt", "in the policy of the KMS key", True),
        ("KMS.DisabledException", "arn:aws:kms:eu-west-1:1:key/2 is disabled.", "is disabled", "enable-key", False),
        ("AccessDenied", "Access Denied", "AWS denies s3:ListBucket", "Grant it to the role", True),
        ("UnauthorizedOperation", "You are not authorized to perform this operation. User: arn:aws:sts::1:assumed-role/"
         "genai-node/i-0123456789abcdef0 is not authorized to perform: ec2:DescribeInstances because no identity-based "
         "policy allows the ec2:DescribeInstances action", "ec2:DescribeInstances", "the role of its node", True),
    ],
)  # fmt: skip
def test_the_policy_that_denies_is_named_with_who_can_change_it(code, message, what, remedy, may_pass):
    found = denial(code, message, "s3:ListBucket")

    assert found is not None
    assert what in found.what
    assert remedy in found.remedy
    assert found.may_pass == may_pass


@pytest.mark.parametrize("code", ["SlowDown", "NoSuchKey", "ExpiredToken", ""])
def test_other_answers_are_no_denial(code):
    assert denial(code, "whatever") is None


def test_a_token_in_awss_words_is_left_out():
    token = "IQoJb3JpZ2luX2VjE" + "a1B2/c3+" * 40
    signed = f"The Canonical String for this request should have been 'GET\n/\nx-amz-security-token:{token}'"
    encoded = f"Encoded authorization failure message: {token}"

    for words in (f"Wrong signature.\n\n{signed}", f"Not allowed. {encoded}", f"The token {token} is not valid."):
        assert token[:40] not in safe_words(words)
    assert safe_words(f"Wrong signature.\n\n{signed}") == "Wrong signature"


def test_names_of_resources_stay_whole():
    words = f"{USER} {ACTION.replace('k', 'models/tiny/74bac7e5f085ac0c00d62bfb1c6ae2e7ff9d91ce/model-00001-of-00002')}"

    assert safe_words(words) == words
