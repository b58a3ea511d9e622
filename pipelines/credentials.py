"""The keys of an object store, kept by the Prefect server as a block, and known by name only to parameters, logs and artifacts."""

from __future__ import annotations

from typing import cast

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from dvcp.errors import ConfigError
from dvcp.store.secrets import Secrets, drop_overrides, forget_stores


class StoreCredentials(Block):
    """Endpoint and keys of an S3 store; the server keeps them encrypted, and shows stars."""

    _block_type_name = "Object store"
    _block_type_slug = "dvcp-object-store"
    _description = "Endpoint and keys of the object store that films are read from and written to."

    endpoint: str | None = Field(None, title="Endpoint", description="https://s3.example.org; none for AWS")
    region: str | None = Field(None, title="Region")
    key: SecretStr = Field(title="Access key")
    secret: SecretStr = Field(title="Secret key")

    def variables(self) -> dict[str, str]:
        """The environment of a process that speaks to this store."""
        found = {"AWS_ACCESS_KEY_ID": self.key.get_secret_value(), "AWS_SECRET_ACCESS_KEY": self.secret.get_secret_value()}
        if self.region:
            found["AWS_DEFAULT_REGION"] = self.region
        if self.endpoint:
            found["AWS_ENDPOINT_URL"] = self.endpoint
        return found


def use_store(block: str | None) -> None:
    """Give this process, and those it starts from now on, the keys of the block of that name; None leaves the environment as it is.

    Raises:
        ConfigError: there is no such block.
    """
    if block is None:
        return
    try:
        loaded = cast(StoreCredentials, StoreCredentials.load(block))
    except ValueError as error:
        hint = "create one of type 'Object store' (Blocks in the UI), or leave the parameter empty"
        raise ConfigError(f"no block {block!r} with the keys of a store", hint=hint) from error
    drop_overrides()
    others = dict(Secrets.of_environment().variables)
    Secrets(tuple(sorted({**others, **loaded.variables()}.items()))).apply()
    forget_stores()
