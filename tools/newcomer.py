"""Does what the README says, as somebody would who has nothing else: newcomer.py CLONE [--release]

Runs every block of commands in the README of a fresh clone, in order and in one shell, and compares what they print with what the README
shows. Keys, identifiers, times, ports and a line that holds only an ellipsis may be anything. Without --release, a release build is replaced by
a build for development. The tests' own command is left out, for this is a part of it.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

PATIENCE_S = 1800
SERVERS = re.compile(r"^(cargo run .*-- demo|calldata-gateway serve)\b")
LEFT_OUT = {"scripts/test"}
SHOWN = {"json", "text", "html"}
# What differs from run to run, and what stands for it in a comparison.
DIFFERS = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"cdg_[0-9a-f]+"), "KEY"),
    (re.compile(r"cdt1\.[\w.-]+"), "TOKEN"),
    (re.compile(r"hmac:[\w-]+"), "HMAC"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b1[5-9]\d{11}\b"), "MILLISECONDS"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"^id: [0-9a-f]{10}-", re.M), "id: EPOCH-"),
]


def blocks(text):
    """The fenced blocks: language, text."""
    return [(m[1], m[2].rstrip("\n")) for m in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)]


def alike(shown, printed):
    """Whether what was printed is what is shown."""
    for pattern, name in DIFFERS:
        shown, printed = pattern.sub(name, shown), pattern.sub(name, printed)
    parts = [part.strip("\n") for part in re.split(r"^…$", shown, flags=re.M)]
    # White space at the ends of lines is nobody's concern.
    printed = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    at = 0
    for number, part in enumerate(parts):
        part = "\n".join(line.rstrip() for line in part.splitlines())
        found = printed.find(part, at)
        if found < 0 or (number == 0 and found != 0):
            return False
        at = found + len(part)
    return parts[-1] == "" or at == len(printed)


class Shell:
    """One shell for all blocks, as a newcomer has one terminal, and another one for what goes on running."""

    def __init__(self, folder, environment):
        self.folder, self.environment, self.server = folder, environment, None
        self.shell = subprocess.Popen(
            ["bash"], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, commands):
        """What the commands print, and the status of the last one."""
        end = f"end-{os.urandom(8).hex()}"
        self.shell.stdin.write(f"{commands}\nprintf '\\n%s %s\\n' {end} \"$?\"\n")
        self.shell.stdin.flush()
        lines = []
        for line in self.shell.stdout:
            if line.startswith(end):
                return "".join(lines).rstrip("\n"), int(line.split()[1])
            lines.append(line)
        raise SystemExit("the shell ended")

    def serve(self, command):
        """What a server prints until it serves."""
        self.stop()
        said = self.folder.parent / "said"
        with open(said, "w") as out, open(self.folder.parent / "log", "w") as log:
            command = command.split("#")[0]
            self.server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment, stdout=out, stderr=log, start_new_session=True
            )
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self.server.poll() is None:
            text = said.read_text()
            if "listening on" in text and ("demo" not in command or "Ctrl-C" in text):
                return text.rstrip("\n")
            time.sleep(0.2)
        raise SystemExit(f"{command} does not serve:\n{said.read_text()}{(self.folder.parent / 'log').read_text()[-4000:]}")

    def stop(self):
        if self.server and self.server.poll() is None:
            os.killpg(self.server.pid, signal.SIGTERM)
            self.server.wait(60)
        self.server = None

    def close(self):
        self.stop()
        self.shell.stdin.close()
        self.shell.wait(10)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    clone = pathlib.Path(sys.argv[1]).resolve()
    release = "--release" in sys.argv[2:]
    address = f"127.0.0.1:{free_port()}"
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", clone / "target"))
    programs = target / ("release" if release else "debug")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CALLDATA_")}
    environment |= {"CALLDATA_LISTEN": address, "PATH": f"{programs}:{os.environ['PATH']}"}
    shell, key, wrong, ran, compared = Shell(clone, environment), None, [], 0, 0
    found = blocks((clone / "README.md").read_text())
    try:
        for number, (language, text) in enumerate(found):
            if language != "sh":
                continue
            if text in LEFT_OUT:
                print(f"left out: {text}")
                continue
            printed = []
            # A command may go on over lines; a server is a command by itself.
            commands = re.split(r"\n(?=calldata-gateway |cargo |curl )", text)
            for command in commands:
                command = command.replace("127.0.0.1:8080", address)
                if key and command.startswith("KEY="):
                    command = f"KEY={key}"
                if not release:
                    command = command.replace("cargo build --release", "cargo build")
                ran += 1
                if SERVERS.match(command):
                    out, status = shell.serve(command), 0
                    told = re.search(r"cdg_[0-9a-f]+", out)
                    key = told[0] if told else key
                else:
                    out, status = shell.run(re.sub(r"^curl ", "curl --silent --show-error ", command))
                printed.append(out)
                if status != 0:
                    wrong.append(f"$ {command}\nended with {status}:\n{out}")
            language, shown = found[number + 1] if number + 1 < len(found) else ("", "")
            if language in SHOWN:
                compared += 1
                if not alike(shown, "\n".join(printed)):
                    wrong.append(f"$ {text}\nshown:\n{shown}\nprinted:\n" + "\n".join(printed))
    finally:
        shell.close()
    print(f"{ran} commands ran, {compared} answers compared, {len(wrong)} differ")
    if wrong:
        sys.exit("\n\n".join(wrong))


if __name__ == "__main__":
    main()
