"""Write the package's data file of instance types and prices from EC2 and the Price List.

Needs AWS credentials with ec2:DescribeInstanceTypes and pricing:GetProducts. The list of Auto Mode's families stays as
it is in the file: no API has it.

    python tools/write_instance_types.py us-east-1 us-west-2 eu-west-1
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from genai_pipeline.gateways.aws.ec2 import Ec2
from genai_pipeline.rollout.pools.instance_types import DATA, data_file, packaged

SOURCE = "EC2's DescribeInstanceTypes and the AWS Price List"


def main(regions: list[str]) -> None:
    today = datetime.now(UTC).date().isoformat()
    found = [packaged(region).read_from_ec2(Ec2(region).instance_types(), today, SOURCE) for region in regions]
    DATA.write_text(data_file(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] or ["us-east-1", "us-west-2"])
