"""The example clients of the documentation work."""

import json
import shlex
import subprocess

from tests.docs.pages import blocks
from tests.docs.test_blocks import SERVICE


def test_the_curl_line_answers(service_url):
    (block,) = blocks("sh")
    done = subprocess.run(
        shlex.split(block.text.replace(SERVICE, service_url)), capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    assert (answer["strategy"], len(answer["items"])) == ("query", 3)


def test_the_python_clients_answer(service_url, capsys):
    list_of_items, search, rank = [block for block in blocks("python") if SERVICE in block.text]
    for block, expected in (
        (list_of_items, ["1", "2", "3", "4", "5"]),
        (search, ["{'text':"]),
        (rank, ["1", "2", "3", "unknown:"]),
    ):
        code = compile(block.text.replace(SERVICE, service_url), str(block), "exec")
        exec(code, {"__name__": "page"})  # noqa: S102 (our own pages)
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == expected
