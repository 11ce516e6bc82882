"""The settings of the gateway: environment variables, with defaults for this machine."""

from pydantic import Field

from common.web import settings as common_settings


class ServiceSettings(common_settings.ServiceSettings):
    """Read from the environment each time an instance is made. Whatever can grow has a limit here."""

    max_in_flight: int = Field(4096, ge=0, description="requests worked on at once, more get 503; 0: no limit")
    max_waiting: int = Field(2000, ge=1, description="requests that wait for a result at once, more get 202 at once")
    max_unacknowledged: int = Field(10_000, ge=1, description="tasks on their way to Kafka at once, more get 503")
    max_batches: int = Field(8, ge=1, description="batches on their way at once, more get 503")
    max_known: int = Field(100_000, ge=100, description="tasks that the gateway remembers, the newest")
    max_streams: int = Field(100, ge=1, description="streams of events open at once, more get 503")
    max_wait_seconds: float = Field(30.0, gt=0, le=600, description="longest `Prefer: wait`; more is cut down to it")
    produce_seconds: float = Field(4.0, gt=0, le=60, description="longest wait until Kafka has acknowledged a task")
    slow_queue_seconds: float = Field(60.0, gt=0, description="a queue whose oldest task waits for longer says so")
    refuse_slow_queue: bool = Field(False, description="and whether it then refuses new tasks")
