"""A Kafka broker of the tests' own: Kafka's server, with what it needs, by Maven, once, outside of the repository."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

VERSION = "3.9.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lambda-extension-tests"
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
    found = CACHE / f"kafka-{VERSION}"
    if found.exists():
        return found
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            missing = f"Kafka is not tested against: there is no {program}"
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
    # Each process fills a folder of its own, and the first rename wins.
    building = CACHE / f"kafka-building-{os.getpid()}"
    building.mkdir(parents=True, exist_ok=True)
    try:
        (building / "pom.xml").write_text(POM)
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib"]
        subprocess.run(command, cwd=building, check=True, capture_output=True, timeout=300)
        if not found.exists():
            (building / "lib").rename(found)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Broker:
    """A cluster of one; a context manager that ends it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.port = free_port()
        self.servers = f"127.0.0.1:{self.port}"
        self._java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        self._java += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        self._java += ["-cp", f"{libraries()}/*"]
        self._settings = home / "server.properties"
        self._settings.write_text(SETTINGS.format(port=self.port, controller=free_port(), home=home))
        format_ = [*self._java, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._settings)]
        subprocess.run(format_, check=True, capture_output=True, timeout=60)
        with (self._home / "log").open("ab") as log:
            command = [*self._java, "kafka.Kafka", str(self._settings)]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 240  # on a busy machine
        while True:
            assert self._process.poll() is None, (self._home / "log").read_text()
            try:
                self._admin().list_topics(timeout=1)
            except KafkaException:
                assert time.monotonic() < deadline, (self._home / "log").read_text()
            else:
                return

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

    def create_topic(self, name: str, **config: Any) -> str:
        admin = self._admin()  # which is needed until the end
        topic = NewTopic(name, num_partitions=1, replication_factor=1, config=config)
        admin.create_topics([topic])[name].result(30)
        return name

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.resume()
        self._process.kill()
        self._process.wait(10)

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
