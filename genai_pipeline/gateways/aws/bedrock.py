"""Asks a Bedrock model for one answer in a given form, through boto3's Converse. Needs bedrock:InvokeModel."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from genai_pipeline.core.errors import Refused, Unavailable
from genai_pipeline.gateways.aws.denials import denial, safe_words
from genai_pipeline.gateways.aws.pod_identity import patient_session

_BUSY = frozenset(
    {
        "ThrottlingException",
        "ServiceUnavailableException",
        "InternalServerException",
        "ModelNotReadyException",
        "ModelTimeoutException",
        "ModelErrorException",
    }
)
_ATTEMPTS = 3


class Bedrock:
    """A client of Bedrock models. Thread-safe.

    Args:
        region: None takes the region that boto3 finds.
        timeout_s: seconds for one of three attempts.
        client: a boto3 client; None makes one.
    """

    def __init__(self, region: str | None = None, timeout_s: float = 60.0, client: Any = None) -> None:
        self._region, self._timeout_s, self._given = region, timeout_s, client

    @cached_property
    def _client(self) -> Any:
        from botocore.config import Config

        config = Config(
            read_timeout=self._timeout_s,
            connect_timeout=5,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        return self._given or patient_session(self._region).client("bedrock-runtime", config=config)

    def structured(
        self,
        model: str,
        system: str,
        prompt: str,
        schema: Mapping[str, Any],
        temperature: float | None,
        max_tokens: int,
    ) -> Any:
        """Return what the model gave to the one tool that it must call, unchecked; its text if it called no tool.

        Raises: Unavailable: no answer now. Refused: these settings cannot work.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        sampling = {} if temperature is None else {"temperature": temperature}
        tool = {"name": "answer", "description": "Give the answer.", "inputSchema": {"json": dict(schema)}}
        try:
            reply = self._client.converse(
                modelId=model,
                system=[{"text": system}],
                messages=[{"role": "user", "content": [{"text": prompt}]}],
                inferenceConfig={"maxTokens": max_tokens, **sampling},
                toolConfig={"tools": [{"toolSpec": tool}], "toolChoice": {"tool": {"name": "answer"}}},
            )
        except ClientError as error:
            answered = error.response.get("Error", {})
            kind = Unavailable if answered.get("Code") in _BUSY else Refused
            remedy = "Check the model's id, its access in this region and bedrock:InvokeModel."
            code, message = answered.get("Code", ""), answered.get("Message", "")
            if (why := denial(code, message)) and why.named:
                raise Refused(f"Bedrock: {why.what}.", why.remedy) from error
            raise kind(f"Bedrock: {code}: {safe_words(message)}", remedy) from error
        except (BotoCoreError, OSError, RuntimeError) as error:  # the last two: credentials that cannot be renewed
            raise Unavailable(
                f"Bedrock did not answer ({safe_words(str(error))}).", "Check region, credentials and network."
            ) from error
        blocks = reply.get("output", {}).get("message", {}).get("content", [])
        used = next((block["toolUse"]["input"] for block in blocks if "toolUse" in block), None)
        return used if used is not None else "".join(block.get("text", "") for block in blocks)
