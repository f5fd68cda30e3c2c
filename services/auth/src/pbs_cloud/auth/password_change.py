"""``PUT access/password`` (rest-api C.2)."""

from __future__ import annotations

from pbs_cloud.auth.guard import holds
from pbs_cloud.auth.login import Logins
from pbs_cloud.auth.names import check_length, check_password, check_userid
from pbs_cloud.auth.user_service import UserService
from pbs_cloud.contracts.context import SYSTEM_AUTH_ID, CallContext, Caller
from pbs_cloud.contracts.errors import InvalidArgument, Unauthenticated
from pbs_cloud.contracts.rights import Privilege


class PasswordChange:
    """The caller confirms with its own password, then sets one for itself or, with the right, for another user."""

    def __init__(self, logins: Logins, users: UserService) -> None:
        self._logins = logins
        self._users = users

    async def change(self, ctx: CallContext, userid: str, password: str, confirmation: str | None) -> None:
        """Raises ``Unauthenticated`` for a wrong confirmation or an unknown user, ``InvalidArgument`` else."""
        caller = ctx.caller
        if caller.is_token:
            raise InvalidArgument("API tokens cannot access this API endpoint")
        realm = check_userid(userid)
        check_password(password)
        if caller.auth_id != SYSTEM_AUTH_ID:
            if confirmation is not None:
                check_length("confirmation-password", confirmation, 1, 1024)
            await self._logins.require_password(ctx, confirmation)
        if not _may_change(caller, userid, realm):
            raise InvalidArgument("you are not authorized to change the password.")
        await self._users.require_passwords(realm)
        if not await self._users.set_password(ctx, userid, password):
            raise Unauthenticated("no such user")


def _may_change(caller: Caller, userid: str, realm: str) -> bool:
    if caller.superuser or caller.auth_id == userid:
        return True
    return realm != "pam" and holds(caller, "/", Privilege.PERMISSIONS_MODIFY)
