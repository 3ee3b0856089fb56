"""The golden files: every frame is decoded and encoded, every HMAC computed."""

from __future__ import annotations

import subprocess
import sys
import unittest

from tests.meaning import GOLDEN, load, of_message, to_message
from tollgate.codec.layout import Malformed
from tollgate.codec.message import FrameReader, decode, encode
from tollgate.codec.numbers import OPENING, Method, Status, status_class
from tollgate.codec.proof import client_proof, node_proof


def read(entry):
    """The one frame of an entry."""
    (frame,) = FrameReader().feed(bytes.fromhex(entry["hex"]))
    return decode(frame)


class Frames(unittest.TestCase):
    def test_files_are_what_their_generator_writes(self):
        done = subprocess.run(
            [sys.executable, "-B", GOLDEN / "make.py", "--check"], capture_output=True, text=True
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_every_frame_means_what_it_should(self):
        for entry in load("frames.json"):
            if "meaning" not in entry or "error" in entry:
                continue
            with self.subTest(entry["name"]):
                meaning = dict(entry["meaning"])
                meaning.pop("body", None)
                self.assertEqual(of_message(read(entry)), meaning)

    def test_every_meaning_becomes_its_frame(self):
        encoded = 0
        for entry in load("frames.json"):
            if "meaning" not in entry or entry.get("decode_only"):
                continue
            with self.subTest(entry["name"]):
                self.assertEqual(encode(to_message(entry["meaning"])).hex(), entry["hex"])
                encoded += 1
        self.assertGreater(encoded, 100)

    def test_every_malformed_frame_is_refused_as_the_node_refuses_it(self):
        for entry in load("frames.json"):
            if "error" not in entry:
                continue
            with self.subTest(entry["name"]):
                with self.assertRaises(Malformed) as caught:
                    read(entry)
                wanted = "MALFORMED" if entry["error"] == "GOAWAY" else entry["error"]
                self.assertEqual(caught.exception.status.name, wanted)

    def test_every_operation_and_status_has_a_frame(self):
        seen = {it["meaning"]["status"] for it in load("frames.json") if "meaning" in it}
        seen |= {
            item["status"] for it in load("frames.json") for item in it.get("meaning", {}).get("items", [])
        }
        self.assertEqual({it.name for it in Status} - seen, set())

    def test_a_stream_is_cut_into_frames_wherever_it_breaks(self):
        whole = [bytes.fromhex(it["hex"]) for it in load("frames.json") if "meaning" in it]
        stream = b"".join(whole)
        for size in (1, 7, 16, 1000):
            reader = FrameReader()
            pieces = (stream[at : at + size] for at in range(0, len(stream), size))
            self.assertEqual([frame for piece in pieces for frame in reader.feed(piece)], whole)


class Handshakes(unittest.TestCase):
    def test_every_frame_means_what_it_should_and_back(self):
        for case in load("handshake.json"):
            self.assertEqual(OPENING.hex(), case["opening"])
            for frame in case["frames"]:
                with self.subTest(case["name"], frame=frame["meaning"]["operation"]):
                    self.assertEqual(of_message(read(frame)), frame["meaning"])
                    self.assertEqual(encode(to_message(frame["meaning"])).hex(), frame["hex"])

    def test_every_proof_is_computed(self):
        proven = [it for it in load("handshake.json") if it.get("proof")]
        self.assertEqual(len(proven), 4)
        for case in proven:
            with self.subTest(case["name"]):
                secret, service = case["secret"].encode(), (case["service"] or "").encode()
                client, node = bytes.fromhex(case["client_nonce"]), bytes.fromhex(case["node_nonce"])
                method = Method[case["method"].upper().replace(" ", "_")]
                self.assertEqual(client_proof(secret, client, node, method, service).hex(), case["proof"])
                self.assertEqual(node_proof(secret, client, node).hex(), case["server_proof"])


class Damage(unittest.TestCase):
    def test_no_flipped_bit_and_no_missing_end_does_more_than_be_refused(self):
        for entry in load("frames.json"):
            frame = bytes.fromhex(entry["hex"])
            for at in range(16, min(len(frame), 200)):
                for bit in (0x01, 0x80):
                    self.decode_or_refuse(frame[:at] + bytes([frame[at] ^ bit]) + frame[at + 1 :])
                self.decode_or_refuse(frame[:at])

    def decode_or_refuse(self, frame):
        try:
            message = decode(frame)
        except Malformed:
            return
        self.assertIn(status_class(message.status), range(256))

    def test_batches_in_batches_do_not_exhaust_the_stack(self):
        body = b""
        while len(body) < 60_000:
            body = (
                bytes.fromhex("0800010001000000")
                + (len(body) + 8).to_bytes(2, "little")
                + b"\x96\0\0\0\0\0"
                + body
            )
        frame = (len(body) + 16).to_bytes(4, "little") + b"\x96\0\0\0" + bytes(8) + body
        self.assertEqual(len(decode(frame).items), 1)
