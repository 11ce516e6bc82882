"""A broker that nobody can use without a name and a password, and nobody can listen to: `--secure`.

- Clients come by SASL_SSL: TLS, then a user's name and password by SCRAM-SHA-512. What a user may do stands in
  access control lists, a user for each program, with the rights in `common/kafka/rights.py`.
- Brokers and their controllers know each other by certificates alone (SSL in both directions). Nothing else gets in
  there, and it is there that users are made, once the broker runs: so no password ever stands on a command line.
"""

import secrets
import ssl
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,  # pyright: ignore[reportPrivateImportUsage]
    AclOperation,  # pyright: ignore[reportPrivateImportUsage]
    AclPermissionType,  # pyright: ignore[reportPrivateImportUsage]
    AdminClient,
    ResourcePatternType,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
    ScramCredentialInfo,  # pyright: ignore[reportPrivateImportUsage]
    ScramMechanism,  # pyright: ignore[reportPrivateImportUsage]
    UserScramCredentialUpsertion,  # pyright: ignore[reportPrivateImportUsage]
)

from common.kafka.rights import GROUP, RIGHTS, TOPIC, TRANSACTIONAL_ID, Right

from .certificates import Authority, write_secret
from .jars import KafkaStartError

BROKER = "broker"  # the name in its certificate, and a super user
EVERYTHING = "iris"  # the user who may do what all the programs may do
MECHANISM = "SCRAM-SHA-512"
ITERATIONS = 4096  # of SCRAM; Kafka's least, enough for a password of 256 random bits
USER_SECONDS = 30.0
KINDS = {
    TOPIC: ResourceType.TOPIC,
    GROUP: ResourceType.GROUP,
    TRANSACTIONAL_ID: ResourceType.TRANSACTIONAL_ID,
}


def folder_in(data_dir: Path) -> Path:
    """Return where a locked cluster keeps its certificates and passwords."""
    return data_dir / "locked"


def context_of(folder: Path) -> ssl.SSLContext:
    """Return how to speak to brokers as one of them. Raises OSError where the files are missing."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / f"{BROKER}.pem")
    return context


class Lock:
    """The certificates, passwords and users of a locked cluster, in a folder that only its owner can read."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.folder, self.ca = folder, self.authority.path
        self.certificate = self.authority.issue(BROKER)

    def settings(self, settings: dict[str, str], inner_port: int) -> dict[str, str]:
        """Return the server properties of a node, locked; brokers reach each other at `inner_port`."""
        doors = {"listeners": "127.0.0.1", "advertised.listeners": "localhost"}
        listeners = {
            name: settings[name].replace("PLAINTEXT://", "LOCKED://") + f",BROKERS://{host}:{inner_port}"
            for name, host in doors.items()
        }
        names = [one.split("://")[0] for one in listeners["listeners"].split(",")]
        inner = ("BROKERS", "CONTROLLER")
        protocols = {name: "SSL" if name in inner else "SASL_SSL" for name in names}
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return (
            settings
            | listeners
            | {f"listener.name.{name.lower()}.ssl.client.auth": "required" for name in inner}
            | {
                f"listener.name.{name.lower()}.{MECHANISM.lower()}.sasl.jaas.config": login
                for name in names
                if name not in inner
            }
            | {
                "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
                "inter.broker.listener.name": "BROKERS",
                "sasl.enabled.mechanisms": MECHANISM,
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self.certificate),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.ca),
                "ssl.principal.mapping.rules": "RULE:^CN=([^,]+)$/$1/",
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": f"User:{BROKER}",
            }
        )

    def context(self) -> ssl.SSLContext:
        """Return what the probe needs to speak to the brokers' own door."""
        return context_of(self.folder)

    def make_users(self, inner_port: int, servers: str) -> None:
        """Make a user for each program, with its rights, and a file of client properties for each.

        Raises:
            KafkaStartError: Kafka does not make them.
        """
        admin = AdminClient(
            {
                "bootstrap.servers": f"localhost:{inner_port}",
                "security.protocol": "SSL",
                "ssl.ca.location": str(self.ca),
                "ssl.certificate.location": str(self.certificate),
                "ssl.key.location": str(self.certificate),
                "log_level": 0,
            }
        )
        every = [right for rights in RIGHTS.values() for right in rights]
        passwords = {user: self._password(user) for user in (EVERYTHING, *RIGHTS)}
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
        made = admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(user, scram, password.encode()) for user, password in passwords.items()]
        )
        bindings = {acl for user in passwords for right in RIGHTS.get(user, every) for acl in acls(user, right)}
        allowed = admin.create_acls(list(bindings))
        try:
            for future in [*made.values(), *allowed.values()]:
                future.result(USER_SECONDS)
        except (KafkaException, TimeoutError) as error:
            raise KafkaStartError(f"Kafka does not make its users: {error}") from None
        for user, password in passwords.items():
            write_secret(self.folder / f"{user}.properties", self._properties(user, password, servers).encode())

    def _password(self, user: str) -> str:
        path = self.folder / f"{user}.password"
        if not path.exists():
            write_secret(path, secrets.token_urlsafe(32).encode())
        return path.read_text(encoding="utf-8")

    def _properties(self, user: str, password: str, servers: str) -> str:
        lines = {
            "bootstrap.servers": servers,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.username": user,
            "sasl.password": password,
            "ssl.ca.location": str(self.ca),
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items())


def acls(user: str, right: Right) -> list[AclBinding]:
    """Return Kafka's entries for one right of a user."""
    pattern = ResourcePatternType.PREFIXED if right.prefix else ResourcePatternType.LITERAL
    return [
        AclBinding(
            KINDS[right.kind],
            right.name,
            pattern,
            f"User:{user}",
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )
        for operation in right.operations
    ]


def how_to_use(properties: Path, servers: str) -> str:
    """Return what to set where the programs run; passwords stay in their files."""
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": MECHANISM,
        "KAFKA_SASL_USERNAME": properties.stem,
        "KAFKA_SASL_PASSWORD_FILE": properties.with_suffix(".password"),
        "KAFKA_SSL_CA_LOCATION": properties.with_name("ca.pem"),
    }
    users = ", ".join(RIGHTS)
    return "\n".join(
        [
            "Set this where a program runs:",
            *(f"  export {name}={value}" for name, value in settings.items()),
            f"{properties.stem} may do all that our programs do. Users for one program each: {users}. Set for one:",
            f"  export KAFKA_CLIENT_PROPERTIES={properties.with_name('worker.properties')}",
        ]
    )
