from pbs_cloud.proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuthenticateRequest(_message.Message):
    __slots__ = ("ticket", "csrf_token", "csrf_required", "token_id", "token_secret", "bearer_secret", "client_address")
    TICKET_FIELD_NUMBER: _ClassVar[int]
    CSRF_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CSRF_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_SECRET_FIELD_NUMBER: _ClassVar[int]
    BEARER_SECRET_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ticket: str
    csrf_token: str
    csrf_required: bool
    token_id: str
    token_secret: str
    bearer_secret: str
    client_address: str
    def __init__(self, ticket: _Optional[str] = ..., csrf_token: _Optional[str] = ..., csrf_required: _Optional[bool] = ..., token_id: _Optional[str] = ..., token_secret: _Optional[str] = ..., bearer_secret: _Optional[str] = ..., client_address: _Optional[str] = ...) -> None: ...

class LoginRequest(_message.Message):
    __slots__ = ("username", "password", "cookie_ticket", "tfa_challenge", "client_address")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    COOKIE_TICKET_FIELD_NUMBER: _ClassVar[int]
    TFA_CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    username: str
    password: str
    cookie_ticket: str
    tfa_challenge: str
    client_address: str
    def __init__(self, username: _Optional[str] = ..., password: _Optional[str] = ..., cookie_ticket: _Optional[str] = ..., tfa_challenge: _Optional[str] = ..., client_address: _Optional[str] = ...) -> None: ...

class LoginResponse(_message.Message):
    __slots__ = ("username", "ticket", "csrf_token", "tenant_id")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    CSRF_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    username: str
    ticket: str
    csrf_token: str
    tenant_id: str
    def __init__(self, username: _Optional[str] = ..., ticket: _Optional[str] = ..., csrf_token: _Optional[str] = ..., tenant_id: _Optional[str] = ...) -> None: ...

class ChangePasswordRequest(_message.Message):
    __slots__ = ("userid", "password", "confirmation_password")
    USERID_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATION_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    userid: str
    password: str
    confirmation_password: str
    def __init__(self, userid: _Optional[str] = ..., password: _Optional[str] = ..., confirmation_password: _Optional[str] = ...) -> None: ...

class ListPermissionsRequest(_message.Message):
    __slots__ = ("auth_id", "path")
    AUTH_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    auth_id: str
    path: str
    def __init__(self, auth_id: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class ListPermissionsResponse(_message.Message):
    __slots__ = ("paths",)
    class Path(_message.Message):
        __slots__ = ("path", "privileges")
        class PrivilegesEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: bool
            def __init__(self, key: _Optional[str] = ..., value: _Optional[bool] = ...) -> None: ...
        PATH_FIELD_NUMBER: _ClassVar[int]
        PRIVILEGES_FIELD_NUMBER: _ClassVar[int]
        path: str
        privileges: _containers.ScalarMap[str, bool]
        def __init__(self, path: _Optional[str] = ..., privileges: _Optional[_Mapping[str, bool]] = ...) -> None: ...
    PATHS_FIELD_NUMBER: _ClassVar[int]
    paths: _containers.RepeatedCompositeFieldContainer[ListPermissionsResponse.Path]
    def __init__(self, paths: _Optional[_Iterable[_Union[ListPermissionsResponse.Path, _Mapping]]] = ...) -> None: ...

class ListAclRequest(_message.Message):
    __slots__ = ("path", "exact")
    PATH_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    path: str
    exact: bool
    def __init__(self, path: _Optional[str] = ..., exact: _Optional[bool] = ...) -> None: ...

class ListAclResponse(_message.Message):
    __slots__ = ("entries", "digest")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[_common_pb2.AclEntry]
    digest: str
    def __init__(self, entries: _Optional[_Iterable[_Union[_common_pb2.AclEntry, _Mapping]]] = ..., digest: _Optional[str] = ...) -> None: ...

class UpdateAclRequest(_message.Message):
    __slots__ = ("path", "role", "auth_id", "propagate", "delete", "digest")
    PATH_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    AUTH_ID_FIELD_NUMBER: _ClassVar[int]
    PROPAGATE_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    path: str
    role: str
    auth_id: str
    propagate: bool
    delete: bool
    digest: str
    def __init__(self, path: _Optional[str] = ..., role: _Optional[str] = ..., auth_id: _Optional[str] = ..., propagate: _Optional[bool] = ..., delete: _Optional[bool] = ..., digest: _Optional[str] = ...) -> None: ...

class CheckAuthIdRequest(_message.Message):
    __slots__ = ("auth_id",)
    AUTH_ID_FIELD_NUMBER: _ClassVar[int]
    auth_id: str
    def __init__(self, auth_id: _Optional[str] = ...) -> None: ...

class CheckAuthIdResponse(_message.Message):
    __slots__ = ("active",)
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    active: bool
    def __init__(self, active: _Optional[bool] = ...) -> None: ...

class User(_message.Message):
    __slots__ = ("id", "tenant_id", "userid", "comment", "firstname", "lastname", "email", "enable", "expire", "tokens", "permission", "created_at", "last_login", "totp_locked", "tfa_locked_until")
    ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    USERID_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    FIRSTNAME_FIELD_NUMBER: _ClassVar[int]
    LASTNAME_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_LOGIN_FIELD_NUMBER: _ClassVar[int]
    TOTP_LOCKED_FIELD_NUMBER: _ClassVar[int]
    TFA_LOCKED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    id: str
    tenant_id: str
    userid: str
    comment: str
    firstname: str
    lastname: str
    email: str
    enable: bool
    expire: int
    tokens: _containers.RepeatedCompositeFieldContainer[Token]
    permission: str
    created_at: int
    last_login: int
    totp_locked: bool
    tfa_locked_until: int
    def __init__(self, id: _Optional[str] = ..., tenant_id: _Optional[str] = ..., userid: _Optional[str] = ..., comment: _Optional[str] = ..., firstname: _Optional[str] = ..., lastname: _Optional[str] = ..., email: _Optional[str] = ..., enable: _Optional[bool] = ..., expire: _Optional[int] = ..., tokens: _Optional[_Iterable[_Union[Token, _Mapping]]] = ..., permission: _Optional[str] = ..., created_at: _Optional[int] = ..., last_login: _Optional[int] = ..., totp_locked: _Optional[bool] = ..., tfa_locked_until: _Optional[int] = ...) -> None: ...

class Token(_message.Message):
    __slots__ = ("id", "user_id", "tokenid", "name", "comment", "enable", "expire", "permission", "created_at", "last_used")
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TOKENID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    id: str
    user_id: str
    tokenid: str
    name: str
    comment: str
    enable: bool
    expire: int
    permission: str
    created_at: int
    last_used: int
    def __init__(self, id: _Optional[str] = ..., user_id: _Optional[str] = ..., tokenid: _Optional[str] = ..., name: _Optional[str] = ..., comment: _Optional[str] = ..., enable: _Optional[bool] = ..., expire: _Optional[int] = ..., permission: _Optional[str] = ..., created_at: _Optional[int] = ..., last_used: _Optional[int] = ...) -> None: ...

class ListUsersRequest(_message.Message):
    __slots__ = ("include_tokens",)
    INCLUDE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    include_tokens: bool
    def __init__(self, include_tokens: _Optional[bool] = ...) -> None: ...

class ListUsersResponse(_message.Message):
    __slots__ = ("users", "digest")
    USERS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    users: _containers.RepeatedCompositeFieldContainer[User]
    digest: str
    def __init__(self, users: _Optional[_Iterable[_Union[User, _Mapping]]] = ..., digest: _Optional[str] = ...) -> None: ...

class UserRequest(_message.Message):
    __slots__ = ("userid",)
    USERID_FIELD_NUMBER: _ClassVar[int]
    userid: str
    def __init__(self, userid: _Optional[str] = ...) -> None: ...

class UserResponse(_message.Message):
    __slots__ = ("user", "digest")
    USER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    user: User
    digest: str
    def __init__(self, user: _Optional[_Union[User, _Mapping]] = ..., digest: _Optional[str] = ...) -> None: ...

class CreateUserRequest(_message.Message):
    __slots__ = ("userid", "password", "comment", "firstname", "lastname", "email", "enable", "expire", "tenant_id", "permission")
    USERID_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    FIRSTNAME_FIELD_NUMBER: _ClassVar[int]
    LASTNAME_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_FIELD_NUMBER: _ClassVar[int]
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    userid: str
    password: str
    comment: str
    firstname: str
    lastname: str
    email: str
    enable: bool
    expire: int
    tenant_id: str
    permission: str
    def __init__(self, userid: _Optional[str] = ..., password: _Optional[str] = ..., comment: _Optional[str] = ..., firstname: _Optional[str] = ..., lastname: _Optional[str] = ..., email: _Optional[str] = ..., enable: _Optional[bool] = ..., expire: _Optional[int] = ..., tenant_id: _Optional[str] = ..., permission: _Optional[str] = ...) -> None: ...

class UpdateUserRequest(_message.Message):
    __slots__ = ("userid", "password", "comment", "firstname", "lastname", "email", "enable", "expire", "delete", "digest", "permission")
    USERID_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    FIRSTNAME_FIELD_NUMBER: _ClassVar[int]
    LASTNAME_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    userid: str
    password: str
    comment: str
    firstname: str
    lastname: str
    email: str
    enable: bool
    expire: int
    delete: _containers.RepeatedScalarFieldContainer[str]
    digest: str
    permission: str
    def __init__(self, userid: _Optional[str] = ..., password: _Optional[str] = ..., comment: _Optional[str] = ..., firstname: _Optional[str] = ..., lastname: _Optional[str] = ..., email: _Optional[str] = ..., enable: _Optional[bool] = ..., expire: _Optional[int] = ..., delete: _Optional[_Iterable[str]] = ..., digest: _Optional[str] = ..., permission: _Optional[str] = ...) -> None: ...

class DeleteUserRequest(_message.Message):
    __slots__ = ("user", "digest")
    USER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    user: str
    digest: str
    def __init__(self, user: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class ListTokensResponse(_message.Message):
    __slots__ = ("tokens", "digest")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[Token]
    digest: str
    def __init__(self, tokens: _Optional[_Iterable[_Union[Token, _Mapping]]] = ..., digest: _Optional[str] = ...) -> None: ...

class TokenRequest(_message.Message):
    __slots__ = ("userid", "name")
    USERID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    userid: str
    name: str
    def __init__(self, userid: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class TokenResponse(_message.Message):
    __slots__ = ("token", "digest")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    token: Token
    digest: str
    def __init__(self, token: _Optional[_Union[Token, _Mapping]] = ..., digest: _Optional[str] = ...) -> None: ...

class CreateTokenRequest(_message.Message):
    __slots__ = ("userid", "name", "comment", "enable", "expire", "digest", "permission", "level_within_user")
    USERID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    LEVEL_WITHIN_USER_FIELD_NUMBER: _ClassVar[int]
    userid: str
    name: str
    comment: str
    enable: bool
    expire: int
    digest: str
    permission: str
    level_within_user: bool
    def __init__(self, userid: _Optional[str] = ..., name: _Optional[str] = ..., comment: _Optional[str] = ..., enable: _Optional[bool] = ..., expire: _Optional[int] = ..., digest: _Optional[str] = ..., permission: _Optional[str] = ..., level_within_user: _Optional[bool] = ...) -> None: ...

class CreateTokenResponse(_message.Message):
    __slots__ = ("token", "secret")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    token: Token
    secret: str
    def __init__(self, token: _Optional[_Union[Token, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class UpdateTokenRequest(_message.Message):
    __slots__ = ("userid", "name", "comment", "enable", "expire", "regenerate", "delete", "digest", "permission")
    USERID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_FIELD_NUMBER: _ClassVar[int]
    REGENERATE_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    userid: str
    name: str
    comment: str
    enable: bool
    expire: int
    regenerate: bool
    delete: _containers.RepeatedScalarFieldContainer[str]
    digest: str
    permission: str
    def __init__(self, userid: _Optional[str] = ..., name: _Optional[str] = ..., comment: _Optional[str] = ..., enable: _Optional[bool] = ..., expire: _Optional[int] = ..., regenerate: _Optional[bool] = ..., delete: _Optional[_Iterable[str]] = ..., digest: _Optional[str] = ..., permission: _Optional[str] = ...) -> None: ...

class UpdateTokenResponse(_message.Message):
    __slots__ = ("secret",)
    SECRET_FIELD_NUMBER: _ClassVar[int]
    secret: str
    def __init__(self, secret: _Optional[str] = ...) -> None: ...

class DeleteTokenRequest(_message.Message):
    __slots__ = ("userid", "name", "id", "digest")
    USERID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    userid: str
    name: str
    id: str
    digest: str
    def __init__(self, userid: _Optional[str] = ..., name: _Optional[str] = ..., id: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Tenant(_message.Message):
    __slots__ = ("id", "name", "slug", "created_at", "active", "quota_bytes", "metadata", "maintenance")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SLUG_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    slug: str
    created_at: int
    active: bool
    quota_bytes: int
    metadata: _containers.ScalarMap[str, str]
    maintenance: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., slug: _Optional[str] = ..., created_at: _Optional[int] = ..., active: _Optional[bool] = ..., quota_bytes: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ..., maintenance: _Optional[str] = ...) -> None: ...

class TenantRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CreateTenantRequest(_message.Message):
    __slots__ = ("name", "slug", "quota_bytes", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SLUG_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    slug: str
    quota_bytes: int
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., slug: _Optional[str] = ..., quota_bytes: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class UpdateTenantRequest(_message.Message):
    __slots__ = ("id", "name", "quota_bytes", "clear_quota", "active", "metadata", "set_metadata", "maintenance", "clear_maintenance")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    CLEAR_QUOTA_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SET_METADATA_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    CLEAR_MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    quota_bytes: int
    clear_quota: bool
    active: bool
    metadata: _containers.ScalarMap[str, str]
    set_metadata: bool
    maintenance: str
    clear_maintenance: bool
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., quota_bytes: _Optional[int] = ..., clear_quota: _Optional[bool] = ..., active: _Optional[bool] = ..., metadata: _Optional[_Mapping[str, str]] = ..., set_metadata: _Optional[bool] = ..., maintenance: _Optional[str] = ..., clear_maintenance: _Optional[bool] = ...) -> None: ...

class ListTenantsResponse(_message.Message):
    __slots__ = ("tenants",)
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    tenants: _containers.RepeatedCompositeFieldContainer[Tenant]
    def __init__(self, tenants: _Optional[_Iterable[_Union[Tenant, _Mapping]]] = ...) -> None: ...

class EnsureRootRequest(_message.Message):
    __slots__ = ("tenant_id", "renew")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    renew: bool
    def __init__(self, tenant_id: _Optional[str] = ..., renew: _Optional[bool] = ...) -> None: ...

class EnsureRootResponse(_message.Message):
    __slots__ = ("created", "token_secret")
    CREATED_FIELD_NUMBER: _ClassVar[int]
    TOKEN_SECRET_FIELD_NUMBER: _ClassVar[int]
    created: bool
    token_secret: str
    def __init__(self, created: _Optional[bool] = ..., token_secret: _Optional[str] = ...) -> None: ...
