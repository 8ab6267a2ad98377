"""Two hosts for tests: network namespaces with a cable between them where possible, or else this host twice."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess


@contextlib.contextmanager
def two_hosts():
    """Yields the address of the first host, and for each the command before those that are to run on it."""
    own = f"kseg{os.getpid()}"
    names, addresses = [f"{own}a", f"{own}b"], ["10.9.9.1", "10.9.9.2"]
    folders = [pathlib.Path("/etc/netns", name) for name in names]
    commands = [
        *(["netns", "add", name] for name in names),
        ["link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1]],
    ]
    for name, address in zip(names, addresses, strict=True):
        commands += [["-n", name, "addr", "add", f"{address}/24", "dev", name]]
        commands += [["-n", name, "link", "set", device, "up"] for device in (name, "lo")]
    try:
        try:
            for command in commands:
                subprocess.run(["ip", *command], check=True, capture_output=True)
            for folder, address in zip(folders, addresses, strict=True):
                folder.mkdir(parents=True)
                # It replaces /etc/hosts there.
                (folder / "hosts").write_text(f"127.0.0.1 localhost\n{address} {socket.gethostname()}\n")
        except (OSError, subprocess.CalledProcessError):  # no such command, not the administrator
            yield "127.0.0.1", [[], []]
        else:
            yield addresses[0], [["ip", "netns", "exec", name] for name in names]
    finally:
        for name, folder in zip(names, folders, strict=True):
            with contextlib.suppress(OSError):
                subprocess.run(["ip", "netns", "del", name], capture_output=True)
            shutil.rmtree(folder, ignore_errors=True)
