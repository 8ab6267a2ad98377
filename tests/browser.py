"""A headless Chromium, driven over its DevTools pipe with nothing but the standard library."""

import base64
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

NAMES = (
    "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
    "microsoft-edge", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)  # fmt: skip


def find():
    """The browser's path."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    assert found, "no Chromium, Chrome or Edge on the PATH: apt-get install chromium-headless-shell, or install Chrome"
    return found


class Browser:
    """One page of a browser; `events` holds what it told, `with` closes it."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        flags += [f"--user-data-dir={self.profile.name}"]
        from_here, self.write = os.pipe()
        self.read, to_here = os.pipe()
        # The browser reads its descriptor 3 and writes 4; a shell puts ours there.
        command = f'exec "$0" "$@" 3<&{from_here} 4>&{to_here}'
        self.process = subprocess.Popen(
            ["bash", "-c", command, find(), *flags, "about:blank"],
            pass_fds=(from_here, to_here),
            stderr=subprocess.DEVNULL,
        )
        os.close(from_here)
        os.close(to_here)
        self.numbers, self.events, self.rest = itertools.count(1), [], b""
        self.session = None
        targets = self.send("Target.getTargets")["targetInfos"]
        target = next(each["targetId"] for each in targets if each["type"] == "page")
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.close(self.write)  # the browser ends with its pipe
        self.process.wait(timeout=30)
        os.close(self.read)
        self.profile.cleanup()

    def send(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _receive(self):
        while b"\0" not in self.rest:
            read = os.read(self.read, 1 << 16)
            assert read, "the browser has ended"
            self.rest += read
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def show(self, path, *, width=1200, height=900, dark=False):
        """Opens a file in a window of that size."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.send("Page.navigate", url=pathlib.Path(path).resolve().as_uri())
        for _ in range(600):
            if self.evaluate("document.readyState") == "complete":
                return
            time.sleep(0.05)
        raise TimeoutError(f"{path} was not loaded in 30 s")

    def evaluate(self, expression):
        """What a JavaScript expression is worth."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def click(self, element):
        """Moves the mouse onto an element (a JavaScript expression), presses and releases it."""
        self.evaluate(f"{element}.scrollIntoView({{block: 'center', inline: 'center'}})")
        box = self.evaluate(
            f"(() => {{ const b = {element}.getBoundingClientRect(); return [b.x, b.y, b.width, b.height] }})()"
        )
        x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def told(self, *methods):
        """The events of these kinds since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") in methods]

    def picture(self, path):
        """Saves what the window shows, and what lies below."""
        taken = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        pathlib.Path(path).write_bytes(base64.b64decode(taken["data"]))
