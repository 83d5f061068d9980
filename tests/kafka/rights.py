"""Access rights of a broker that has an authorizer, given by a super user."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

TIMEOUT_SECONDS = 30


class Rights:
    """Where a resource has any right, nobody else may do anything with it."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers})

    def topic(self, name: str, user: str, operation: str) -> None:
        self._allow(ResourceType.TOPIC, name, ResourcePatternType.LITERAL, user, operation)

    def transactional_id(self, prefix: str, user: str, operation: str) -> None:
        self._allow(ResourceType.TRANSACTIONAL_ID, prefix, ResourcePatternType.PREFIXED, user, operation)

    def _allow(self, kind: ResourceType, name: str, pattern: ResourcePatternType, user: str, operation: str) -> None:
        allow = AclPermissionType.ALLOW
        binding = AclBinding(kind, name, pattern, user, "*", AclOperation[operation], allow)
        for answer in self._admin.create_acls([binding]).values():
            answer.result(TIMEOUT_SECONDS)
