"""The example clients of the README work."""

import json
import shlex
import subprocess

from tests.test_readme import SERVICE, blocks


def test_the_curl_line_answers(service_url):
    (line,) = blocks("sh")
    done = subprocess.run(shlex.split(line.replace(SERVICE, service_url)), capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert (answer["strategy"], len(answer["items"])) == ("query", 3)


def test_the_python_client_answers(service_url, capsys):
    (block,) = [block for block in blocks("python") if SERVICE in block]
    exec(compile(block.replace(SERVICE, service_url), "README.md", "exec"), {"__name__": "readme"})  # noqa: S102
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["1", "2", "3", "4", "5"]
