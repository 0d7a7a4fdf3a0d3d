"""A Kafka broker of the tests' own: Kafka's server, with what it needs, by Maven, once, outside of the repository."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from foreign_builds import fetched, run_build, server_program
from http_servers import free_port

VERSION = "3.9.1"
COPIED = ["-DincludeScope=runtime", "-DoutputDirectory=."]
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>example</groupId><artifactId>broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={home}/data
auto.create.topics.enable=false
broker.session.timeout.ms=60000
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""


def libraries() -> Path:
    """Give the folder of Kafka's libraries; skip where they cannot be had, but not in CI."""

    def download(home: Path) -> None:
        (home / "pom.xml").write_text(POM)
        run_build(["mvn", "-q", "-B", "dependency:copy-dependencies", *COPIED], home)

    return fetched(f"kafka-{VERSION}", ["java", "mvn"], download)


@contextmanager
def kafka(home: Path) -> Generator[Broker]:
    """Run a cluster of one until the end of the block."""
    port = free_port()
    settings = home / "server.properties"
    settings.write_text(SETTINGS.format(port=port, controller=free_port(), home=home))
    java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    java += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{libraries()}/*"]
    run_build([*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(settings)], home)
    there = Broker(f"127.0.0.1:{port}")
    command = [*java, "kafka.Kafka", str(settings)]
    with server_program(command, home / "log", there.answers, within=240) as there.process:  # on a busy machine
        try:
            yield there
        finally:
            there.process.kill()  # nobody wants what it would put in order first


class Broker:
    """A broker that runs."""

    process: subprocess.Popen[bytes]

    def __init__(self, servers: str) -> None:
        self.servers = servers

    def answers(self) -> bool:
        try:
            self._admin().list_topics(timeout=1)
        except KafkaException:
            return False
        return True

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

    def create_topic(self, name: str, **config: Any) -> str:
        admin = self._admin()  # which is needed until the end
        topic = NewTopic(name, num_partitions=1, replication_factor=1, config=config)
        admin.create_topics([topic])[name].result(30)
        return name

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stored(self, topic: str) -> list[Message]:
        """Give every message of a topic, in order."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "test", "log_level": 0})
        try:
            partition = TopicPartition(topic, 0, 0)
            _, end = consumer.get_watermark_offsets(partition, timeout=10)
            consumer.assign([partition])
            found: list[Message] = []
            while len(found) < end:
                message = consumer.poll(10)
                assert message is not None
                assert message.error() is None
                found.append(message)
            return found
        finally:
            consumer.close()
