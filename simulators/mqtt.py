"""The site's messages on a broker: each robot with a connection and last will of its own, parking over ChirpStack."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import aiomqtt
import structlog

from devices.errors import LinkDown
from simulators.replay import Published, play
from simulators.site import Robot
from simulators.voices import ParkingVoice, RobotVoice
from simulators.world import SimulatedClock, World

RECONNECT_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the site's broker listens."""

    port: int
    host: str = "127.0.0.1"


async def run_robot(world: World, robot: Robot, broker: Broker) -> None:
    """Publish one robot for ever; connects again when the broker went away."""
    voice = RobotVoice(robot)
    topic = f"{robot.topic}/connection"
    while True:
        will = aiomqtt.Will(topic, voice.connection(world.clock.now_ms(), "CONNECTIONBROKEN"), qos=1, retain=True)
        try:
            async with aiomqtt.Client(broker.host, broker.port, identifier=robot.serial, will=will) as client:
                await client.publish(topic, voice.connection(world.clock.now_ms(), "ONLINE"), qos=1, retain=True)
                try:
                    await _speak_robot(world, voice, client)
                except asyncio.CancelledError:
                    farewell = voice.connection(world.clock.now_ms(), "OFFLINE")
                    await client.publish(topic, farewell, qos=1, retain=True)
                    raise
        except aiomqtt.MqttError as error:
            log.warning("robot lost the broker", robot=robot.id, error=str(error))
            await asyncio.sleep(RECONNECT_S)


async def _speak_robot(world: World, voice: RobotVoice, client: aiomqtt.Client) -> None:
    while True:
        state = await world.tick()
        for topic, payload in voice.messages(state.time_ms, state.robots[voice.robot.id]):
            await client.publish(topic, payload)


async def run_parking(world: World, broker: Broker) -> None:
    """Publish the parking sensors as ChirpStack would, for ever; connects again when the broker went away."""
    voice = ParkingVoice(world.site.spaces, world.site.application)
    while True:
        try:
            async with aiomqtt.Client(broker.host, broker.port, identifier="chirpstack") as client:
                while True:
                    state = await world.tick()
                    for topic, payload in voice.messages(state, world.announcements):
                        await client.publish(topic, payload)
        except aiomqtt.MqttError as error:
            log.warning("parking lost the broker", error=str(error))
            await asyncio.sleep(RECONNECT_S)


async def publish_recording(recording: Iterable[Published], clock: SimulatedClock, broker: Broker) -> int:
    """Play MQTT messages by a clock; gives how many were sent. Raises LinkDown when the broker goes away."""
    try:
        async with aiomqtt.Client(broker.host, broker.port) as client:

            async def send(one: Published) -> None:
                await client.publish(one.topic, one.payload, qos=1 if one.retain else 0, retain=one.retain)

            return await play(recording, lambda one: one.time_ms, clock, send)
    except aiomqtt.MqttError as error:
        raise LinkDown(f"the broker at {broker.host}:{broker.port}: {error}") from error


async def run_messages(world: World, broker: Broker) -> None:
    """Everything of the site that speaks MQTT, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for robot in world.site.robots:
            group.create_task(run_robot(world, robot, broker), name=f"robot {robot.id}")
        group.create_task(run_parking(world, broker), name="parking")
