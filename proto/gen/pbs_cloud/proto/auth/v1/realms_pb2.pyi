from pbs_cloud.proto.auth.v1 import auth_pb2 as _auth_pb2
from pbs_cloud.proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Realm(_message.Message):
    __slots__ = ("realm", "type", "comment", "is_default")
    REALM_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    realm: str
    type: str
    comment: str
    is_default: bool
    def __init__(self, realm: _Optional[str] = ..., type: _Optional[str] = ..., comment: _Optional[str] = ..., is_default: _Optional[bool] = ...) -> None: ...

class ListRealmsResponse(_message.Message):
    __slots__ = ("realms",)
    REALMS_FIELD_NUMBER: _ClassVar[int]
    realms: _containers.RepeatedCompositeFieldContainer[Realm]
    def __init__(self, realms: _Optional[_Iterable[_Union[Realm, _Mapping]]] = ...) -> None: ...

class RealmRequest(_message.Message):
    __slots__ = ("realm",)
    REALM_FIELD_NUMBER: _ClassVar[int]
    realm: str
    def __init__(self, realm: _Optional[str] = ...) -> None: ...

class OpenidRealm(_message.Message):
    __slots__ = ("realm", "issuer_url", "client_id", "comment", "scopes", "prompt", "acr_values", "username_claim", "autocreate")
    REALM_FIELD_NUMBER: _ClassVar[int]
    ISSUER_URL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    ACR_VALUES_FIELD_NUMBER: _ClassVar[int]
    USERNAME_CLAIM_FIELD_NUMBER: _ClassVar[int]
    AUTOCREATE_FIELD_NUMBER: _ClassVar[int]
    realm: str
    issuer_url: str
    client_id: str
    comment: str
    scopes: str
    prompt: str
    acr_values: str
    username_claim: str
    autocreate: bool
    def __init__(self, realm: _Optional[str] = ..., issuer_url: _Optional[str] = ..., client_id: _Optional[str] = ..., comment: _Optional[str] = ..., scopes: _Optional[str] = ..., prompt: _Optional[str] = ..., acr_values: _Optional[str] = ..., username_claim: _Optional[str] = ..., autocreate: _Optional[bool] = ...) -> None: ...

class ListOpenidRealmsResponse(_message.Message):
    __slots__ = ("realms", "digest")
    REALMS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    realms: _containers.RepeatedCompositeFieldContainer[OpenidRealm]
    digest: str
    def __init__(self, realms: _Optional[_Iterable[_Union[OpenidRealm, _Mapping]]] = ..., digest: _Optional[str] = ...) -> None: ...

class OpenidRealmResponse(_message.Message):
    __slots__ = ("realm", "digest")
    REALM_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    realm: OpenidRealm
    digest: str
    def __init__(self, realm: _Optional[_Union[OpenidRealm, _Mapping]] = ..., digest: _Optional[str] = ...) -> None: ...

class CreateOpenidRealmRequest(_message.Message):
    __slots__ = ("realm", "client_key")
    REALM_FIELD_NUMBER: _ClassVar[int]
    CLIENT_KEY_FIELD_NUMBER: _ClassVar[int]
    realm: OpenidRealm
    client_key: str
    def __init__(self, realm: _Optional[_Union[OpenidRealm, _Mapping]] = ..., client_key: _Optional[str] = ...) -> None: ...

class UpdateOpenidRealmRequest(_message.Message):
    __slots__ = ("realm", "issuer_url", "client_id", "client_key", "comment", "scopes", "prompt", "acr_values", "autocreate", "delete", "digest")
    REALM_FIELD_NUMBER: _ClassVar[int]
    ISSUER_URL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_KEY_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    ACR_VALUES_FIELD_NUMBER: _ClassVar[int]
    AUTOCREATE_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    realm: str
    issuer_url: str
    client_id: str
    client_key: str
    comment: str
    scopes: str
    prompt: str
    acr_values: str
    autocreate: bool
    delete: _containers.RepeatedScalarFieldContainer[str]
    digest: str
    def __init__(self, realm: _Optional[str] = ..., issuer_url: _Optional[str] = ..., client_id: _Optional[str] = ..., client_key: _Optional[str] = ..., comment: _Optional[str] = ..., scopes: _Optional[str] = ..., prompt: _Optional[str] = ..., acr_values: _Optional[str] = ..., autocreate: _Optional[bool] = ..., delete: _Optional[_Iterable[str]] = ..., digest: _Optional[str] = ...) -> None: ...

class DeleteRealmRequest(_message.Message):
    __slots__ = ("realm", "digest")
    REALM_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    realm: str
    digest: str
    def __init__(self, realm: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class StartOpenidLoginRequest(_message.Message):
    __slots__ = ("realm", "redirect_url", "client_address")
    REALM_FIELD_NUMBER: _ClassVar[int]
    REDIRECT_URL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    realm: str
    redirect_url: str
    client_address: str
    def __init__(self, realm: _Optional[str] = ..., redirect_url: _Optional[str] = ..., client_address: _Optional[str] = ...) -> None: ...

class StartOpenidLoginResponse(_message.Message):
    __slots__ = ("url",)
    URL_FIELD_NUMBER: _ClassVar[int]
    url: str
    def __init__(self, url: _Optional[str] = ...) -> None: ...

class FinishOpenidLoginRequest(_message.Message):
    __slots__ = ("state", "code", "redirect_url", "client_address")
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REDIRECT_URL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    state: str
    code: str
    redirect_url: str
    client_address: str
    def __init__(self, state: _Optional[str] = ..., code: _Optional[str] = ..., redirect_url: _Optional[str] = ..., client_address: _Optional[str] = ...) -> None: ...
