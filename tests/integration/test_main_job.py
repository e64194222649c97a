"""The main job through the real command line: commit, tag, synchronize, refuse, roll back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.faults import running
from tests.integration.pair import Node, Pair, listing
from tests.support.wait import until


def managed(node: Node) -> dict[str, tuple[str, int, str]]:
    """What is below the areas on a node's disk."""
    return {path: entry for path, entry in listing(node.root).items() if not path.endswith(".bak")}


def head_file(node: Node, path: str) -> str:
    return node.git("show", f"main:{path}")


def fill(node: Node) -> None:
    """What the master begins with."""
    shutil.rmtree(node.file("/etc"), ignore_errors=True)
    node.write("/etc/proxy/main.conf", "listen 80\n")
    node.write("/etc/proxy/secret.key", "s3cret\n", mode=0o600)
    node.write("/etc/dns/zone", "a 192.0.2.1\n")
    node.file("/etc/proxy/empty").mkdir()
    node.file("/etc/proxy/link").symlink_to("/etc/passwd")


@pytest.fixture(scope="module")
def lab() -> Iterator[Pair]:
    with running(prepare=lambda pair: fill(pair.fw1)) as pair:
        (pair.fw1.home / "cluster.yaml").write_text((pair.fw1.etc / "cluster.yaml").read_text())
        yield pair


@pytest.fixture
def synced(lab: Pair) -> Pair:
    """The module's pair, made equal; what a test before left there is gone."""
    fill(lab.fw1)
    (lab.fw1.etc / "cluster.yaml").write_text((lab.fw1.home / "cluster.yaml").read_text())
    for path in ("/etc/proxy/gone", "/etc/later"):
        shutil.rmtree(lab.fw2.file(path), ignore_errors=True)
    lab.synced("--force", "drift")
    assert listing(lab.fw1.root) == listing(lab.fw2.root)
    return lab


def last_tag(pair: Pair) -> str:
    found: str = pair.fw1.status()["last_tag"]
    return found


def after(tag: str) -> str:
    """The name of the tag that comes next."""
    return f"sync/{int(tag.removeprefix('sync/')) + 1:06}"


def test_an_edit_is_on_main_by_itself_and_the_backup_is_untouched(synced: Pair) -> None:
    pair = synced
    before = managed(pair.fw2)
    pair.fw1.write("/etc/proxy/main.conf", "listen 8080\n")
    until(lambda: "8080" in head_file(pair.fw1, "etc/proxy/main.conf"), deadline_s=10, what="the edit to be committed")
    assert managed(pair.fw2) == before
    (newest,) = pair.fw1.do("log", "/etc/proxy/main.conf", "-n", "1")["commits"]
    assert newest["via"] == "watch"
    assert newest["author"] == "fw1"
    assert newest["paths"] == ["/etc/proxy/main.conf"]


def test_the_first_sync_makes_the_disks_equal(pair: Pair) -> None:
    answer = pair.fw1.do("sync", "--reason", "first")
    assert answer["tag"] == "sync/000001"
    assert answer["nodes"]["fw2"]["result"] == "done"
    assert managed(pair.fw1) == managed(pair.fw2)
    assert pair.fw2.file("/etc/proxy/empty").is_dir()
    assert os.readlink(pair.fw2.file("/etc/proxy/link")) == "/etc/passwd"
    assert pair.fw2.file("/etc/proxy/secret.key").stat().st_mode & 0o7777 == 0o600
    for node in (pair.fw1, pair.fw2):
        assert node.status()["sync"]["state"] == "in_sync", node.status()
        node.git("fsck", "--strict")
    assert pair.fw1.status()["peers"]["fw2"]["applied_tag"] == "sync/000001"


def test_stock_git_verifies_tags_and_follows_the_history(synced: Pair, tmp_path: Path) -> None:
    synced.fw1.write("/etc/proxy/main.conf", "listen 87\n")
    assert synced.synced("--reason", "port 87")["result"] == "done"
    tag, key = last_tag(synced), synced.fw1.do("key")["key"]
    signers = tmp_path / "signers"
    signers.write_text(f'* namespaces="git" {key}\n')
    for node in (synced.fw1, synced.fw2):
        node.git("-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={signers}", "verify-tag", tag)
        assert node.git("log", "--format=%s", "main")
    clone = tmp_path / "clone"
    subprocess.run(["git", "-c", "safe.directory=*", "clone", "-q", str(synced.fw2.repository), str(clone)], check=True)
    assert (clone / "etc/proxy/main.conf").read_text() == "listen 87\n"
    body = synced.fw1.git("cat-file", "tag", tag)
    assert "port 87\n\nFormat: 1\nNode: fw1\nAreas: proxy, dns, cluster\nRequested-By: " in body
    parents = synced.fw2.git("rev-list", "--parents", "-n", "1", "main").split()
    assert parents[2] == synced.fw1.git("rev-parse", f"{tag}^{{commit}}").strip()


def test_a_second_sync_says_unchanged_and_writes_nothing(synced: Pair) -> None:
    before = {path: path.lstat().st_ctime_ns for path in synced.fw2.root.rglob("*")}
    main, tag = synced.fw2.git("rev-parse", "main"), last_tag(synced)
    answer = synced.fw1.do("sync")
    assert answer["tag"] == tag
    assert answer["nodes"]["fw2"]["result"] == "unchanged"
    assert {path: path.lstat().st_ctime_ns for path in synced.fw2.root.rglob("*")} == before
    assert synced.fw2.git("rev-parse", "main") == main


def test_diff_shows_what_sync_would_bring_and_its_exit_status_tells(synced: Pair) -> None:
    assert synced.fw1.ask("diff").status == 0
    synced.fw1.write("/etc/proxy/main.conf", "listen 81\n")
    synced.fw1.file("/etc/proxy/secret.key").unlink()
    answer = synced.fw1.ask("diff")
    assert answer.status == 1
    node = answer.data["nodes"]["fw2"]
    assert {(one["path"], one["status"], one["area"]) for one in node["files"]} == {
        ("/etc/proxy/main.conf", "changed", "proxy"),
        ("/etc/proxy/secret.key", "removed", "proxy"),
    }
    assert node["deletions"] == 1
    assert "+listen 81" in synced.fw1.told("diff")
    only_dns = synced.fw1.ask("diff", "--area", "dns")
    assert only_dns.status == 0
    assert synced.fw1.ask("diff", "nonsense").status == 2


def test_deletions_modes_links_and_types_are_carried(synced: Pair) -> None:
    fw1 = synced.fw1
    fw1.file("/etc/proxy/secret.key").unlink()
    fw1.file("/etc/proxy/main.conf").chmod(0o640)
    fw1.file("/etc/proxy/link").unlink()
    fw1.file("/etc/proxy/link").mkdir()
    fw1.write("/etc/proxy/link/now-a-directory", "x")
    fw1.file("/etc/proxy/empty").rmdir()
    fw1.file("/etc/proxy/empty").symlink_to("main.conf")
    fw1.file("/etc/proxy").chmod(0o750)
    assert synced.synced()["result"] == "done"
    assert managed(synced.fw1) == managed(synced.fw2)


def test_excluded_files_are_neither_sent_nor_deleted(synced: Pair) -> None:
    synced.fw1.write("/etc/proxy/a.bak", "master's")
    synced.fw2.file("/etc/proxy/gone").mkdir()
    synced.fw2.write("/etc/proxy/gone/b.bak", "backup's")
    synced.fw1.write("/etc/proxy/main.conf", "listen 82\n")
    assert synced.synced("--force", "drift")["result"] == "done"
    assert not synced.fw2.file("/etc/proxy/a.bak").exists()
    assert synced.fw2.file("/etc/proxy/gone/b.bak").read_text() == "backup's"


def test_a_broken_file_is_refused_by_its_check_and_nothing_changes_on_the_backup(synced: Pair) -> None:
    before, tag = managed(synced.fw2), last_tag(synced)
    synced.fw1.write("/etc/proxy/main.conf", "BROKEN 80\n")
    answer = synced.fw1.ask("sync")
    assert answer.status == 1
    node = answer.data["nodes"]["fw2"]
    assert node["result"] == "failed"
    assert "BROKEN is no directive" in node["reason"]
    assert answer.data["tag"] == after(tag), "a failed sync keeps its tag"
    assert managed(synced.fw2) == before
    status = synced.fw2.status()
    assert status["sync"]["state"] == "failed"
    assert status["sync"]["applied_tag"] == tag
    assert synced.fw1.status()["sync"]["state"] == "failed"
    assert synced.fw1.do("rollback", tag)["nodes"]["fw1"]["result"] == "done"
    assert synced.fw1.file("/etc/proxy/main.conf").read_text() == "listen 80\n"
    assert synced.synced()["result"] == "unchanged"
    assert synced.fw2.status()["sync"]["state"] == "in_sync"


def test_a_dry_run_changes_neither_files_nor_tags_nor_states(synced: Pair) -> None:
    synced.fw1.write("/etc/proxy/main.conf", "listen 83\n")
    before, tags = managed(synced.fw2), synced.fw1.git("tag")
    answer = synced.fw1.do("sync", "--dry-run")
    assert answer["nodes"]["fw2"]["result"] == "done"
    assert "/etc/proxy/main.conf" in answer["nodes"]["fw2"]["reason"]
    assert [step["name"] for step in answer["nodes"]["fw2"]["steps"]][-1] == "check proxy"
    assert managed(synced.fw2) == before
    for node in (synced.fw1, synced.fw2):
        assert node.git("tag") == tags
        assert "refs/syncsrv/job" not in node.git("for-each-ref")
        assert "refs/syncsrv/quarantine" not in node.git("for-each-ref")
    assert synced.fw2.status()["sync"]["state"] == "changes_pending"
    synced.fw1.write("/etc/proxy/main.conf", "BROKEN\n")
    assert synced.fw1.ask("sync", "--dry-run").status == 1
    assert synced.fw2.status()["sync"]["state"] != "failed"


def test_one_area_alone(synced: Pair) -> None:
    tag = last_tag(synced)
    synced.fw1.write("/etc/proxy/main.conf", "listen 84\n")
    synced.fw1.write("/etc/dns/zone", "a 192.0.2.9\n")
    answer = synced.fw1.do("sync", "--area", "dns")
    assert answer["tag"] == after(tag)
    assert synced.fw2.file("/etc/dns/zone").read_text() == "a 192.0.2.9\n"
    assert synced.fw2.file("/etc/proxy/main.conf").read_text() == "listen 80\n"
    sync = synced.fw2.status()["sync"]
    assert sync["areas"] == {"proxy": tag, "dns": after(tag), "cluster": tag}
    assert sync["state"] == "changes_pending"
    assert "proxy" in sync["reason"]
    assert synced.synced()["result"] == "done"
    assert managed(synced.fw1) == managed(synced.fw2)


def test_drift_is_seen_guarded_and_kept_in_the_history(synced: Pair) -> None:
    synced.fw2.write("/etc/proxy/main.conf", "edited on the backup\n")
    until(lambda: synced.fw2.status()["sync"]["state"] == "drifted", what="the drift to be seen")
    assert synced.fw2.status()["sync"]["drift"] == ["/etc/proxy/main.conf"]
    refused = synced.fw1.ask("sync")
    assert refused.status == 4
    assert refused.data["nodes"]["fw2"]["guards"] == ["drift"]
    assert "--force drift" in refused.data["nodes"]["fw2"]["remedy"]
    assert synced.synced("--force", "drift")["result"] == "done"
    assert synced.fw2.file("/etc/proxy/main.conf").read_text() == "listen 80\n"
    assert synced.fw2.git("show", "main~1:etc/proxy/main.conf") == "edited on the backup\n"


def test_a_rollback_on_the_backup_leaves_it_drifted_with_that_reason(synced: Pair) -> None:
    tag = last_tag(synced)
    synced.fw1.write("/etc/proxy/main.conf", "listen 85\n")
    assert synced.synced()["result"] == "done"
    assert synced.fw2.do("rollback", tag, "--reason", "85 was wrong")["nodes"]["fw2"]["result"] == "done"
    assert synced.fw2.file("/etc/proxy/main.conf").read_text() == "listen 80\n"
    sync = synced.fw2.status()["sync"]
    assert sync["state"] == "drifted"
    assert "rolled back" in sync["reason"]
    assert "85 was wrong" in sync["reason"]


def test_sync_on_the_backup_pulls_the_masters_newest_tag(synced: Pair) -> None:
    synced.fw1.write("/etc/proxy/main.conf", "BROKEN\n")
    assert synced.fw1.ask("sync").status == 1
    synced.fw1.write("/etc/proxy/main.conf", "listen 86\n")
    synced.fw1.do("commit", "-m", "port 86")
    assert synced.fw2.ask("sync").status == 1, "the newest tag is still the broken one"
    assert synced.fw1.do("sync", "--reason", "mended")["nodes"]["fw2"]["result"] == "done"
    assert synced.fw2.do("sync")["nodes"]["fw2"]["result"] == "unchanged"


def test_commit_log_and_show(synced: Pair) -> None:
    synced.fw1.write("/etc/dns/zone", "a 192.0.2.3\n")
    done = synced.fw1.do("commit", "-m", "new address\n\nbecause it moved")
    shown = synced.fw1.do("show", done["commit"][:8])
    assert shown["commit"]["subject"] == "new address"
    assert shown["body"] == "because it moved"
    assert shown["commit"]["via"] == "cli"
    assert [(one["path"], one["status"]) for one in shown["files"]] == [("/etc/dns/zone", "changed")]
    assert "+a 192.0.2.3" in synced.fw1.told("show", "main")
    assert synced.fw1.do("commit", "-m", "again")["commit"] is None
    trailers = synced.fw1.git("log", "-1", "--format=%b", "main")
    assert "Format: 1\nVia: cli\nNode: fw1\nAreas: dns" in trailers


def test_commit_of_one_path_leaves_the_other_pending(synced: Pair) -> None:
    synced.fw1.do("commit")
    synced.fw1.write("/etc/dns/zone", "one\n")
    synced.fw1.write("/etc/proxy/main.conf", "two\n")
    done = synced.fw1.do("commit", "-m", "only dns", "/etc/dns")
    assert [one["path"] for one in synced.fw1.do("show", done["commit"])["files"]] == ["/etc/dns/zone"]
    outside = synced.fw1.ask("commit", "/srv/x")
    assert outside.status == 2
    assert "belongs to no area" in outside.text


def test_rollback_leaves_what_came_later_alone(synced: Pair) -> None:
    synced.fw1.do("commit")
    first = synced.fw1.do("log", "-n", "1")["commits"][0]["commit"]
    cluster = synced.fw1.etc / "cluster.yaml"
    cluster.write_text(cluster.read_text() + "  later:\n    paths: [/etc/later]\n")
    synced.fw1.write("/etc/later/file", "kept\n")
    synced.fw1.write("/etc/proxy/main.conf", "changed\n")
    synced.fw1.do("commit", "-m", "second")
    assert synced.fw1.do("rollback", first)["nodes"]["fw1"]["result"] == "done"
    assert synced.fw1.file("/etc/proxy/main.conf").read_text() == "listen 80\n"
    assert synced.fw1.file("/etc/later/file").read_text() == "kept\n"
    assert "later" in cluster.read_text(), "the area cluster is not rolled back unless it is named"


def test_a_new_area_in_cluster_yaml_reaches_the_backup_with_its_files(synced: Pair) -> None:
    cluster = synced.fw1.etc / "cluster.yaml"
    cluster.write_text(cluster.read_text() + "  later:\n    paths: [/etc/later]\n")
    synced.fw1.write("/etc/later/file", "new\n")
    synced.fw2.write("/etc/later/own", "the backup's own\n")
    assert synced.synced()["result"] == "done"
    assert synced.fw2.file("/etc/later/file").read_text() == "new\n"
    assert not synced.fw2.file("/etc/later/own").exists()
    assert (synced.fw2.etc / "cluster.yaml").read_text() == cluster.read_text()
    assert synced.fw2.git("show", "main~1:etc/later/own") == "the backup's own\n", "it was saved first"
    synced.fw2.write("/etc/later/file", "drift\n")
    until(lambda: synced.fw2.status()["sync"]["drift"] == ["/etc/later/file"], what="the new area to be watched")


def test_processes_end_in_their_word_and_end_with_serve(pair: Pair) -> None:
    assert len(pair.fw1.pids("core")) == 1
    assert len(pair.fw1.pids("door")) == 1
    assert pair.fw1.process is not None
    everybody = pair.fw1.pids("core") + pair.fw1.pids("door")
    os.kill(pair.fw1.process.pid, signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in everybody), what="core and door to end with serve")
    pair.fw1.kill()
    pair.fw1.start()
    assert pair.fw1.stop() == 0
    without_core_the_error_says_what_to_do(pair)


def without_core_the_error_says_what_to_do(pair: Pair) -> None:
    answer = pair.fw1.ask("status")
    assert answer.status == 1
    assert answer.data["error"]["code"] == "core-away"
    assert "syncsrv serve" in answer.data["error"]["remedy"]


@pytest.mark.parametrize("command", [["sync", "nobody"], ["sync", "--area", "nothing"], ["rollback", "nothing"]])
def test_what_does_not_exist_is_a_usage_error(lab: Pair, command: list[str]) -> None:
    answer = lab.fw1.ask(*command)
    assert answer.status in {1, 2}, answer.text
    assert answer.data is not None
