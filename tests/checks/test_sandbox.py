"""What an isolated check sees, and that nothing it does lasts. Real namespaces, so root."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from syncsrv.checks import confine, mountpoints
from syncsrv.checks.check import CheckResult, Status, run_checks
from syncsrv.checks.kernel import KEPT_CAPABILITIES
from syncsrv.checks.stage import Stage
from syncsrv.plan.tree import Owner
from tests.checks.stagekit import TOP, Node, elsewhere
from tests.support import trees

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mount namespaces")

PRIVATE = ("unshare", "--mount", "--propagation", "private")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made.write("etc/app/main.conf", "live main\n")
    made.write("etc/app/old.conf", "old\n")
    made.write("etc/app/conf.d/a.conf", "live a\n")
    made.changes = {
        "etc/app/main.conf": "staged main\n",
        "etc/app/old.conf": None,
        "etc/app/conf.d/b.conf": "staged b\n",
    }
    return made


def isolated(result: CheckResult) -> str:
    """The output of a check that was content, isolated, with nothing to remark."""
    assert (result.status, result.isolated, result.note) == (Status.OK, True, ""), result
    return result.output


def in_place(enter: str) -> list[str]:
    """The command that runs a program after a script in a mount namespace of its own."""
    return [*PRIVATE, "sh", "-c", f'set -e\n{enter}\nexec "$@"', "sh"]


def test_isolation_can_be_had_here() -> None:
    assert confine.why_not_isolated() == ""


def test_staged_files_stand_at_their_real_paths_over_the_live_ones(node: Node) -> None:
    node.write("etc/app/local.bak", "not under management\n")
    said = isolated(
        node.sh(f"cd {node.root}/etc/app; cat main.conf conf.d/*.conf local.bak; ls", ignored=["etc/app/local.bak"])
    )
    assert said == "staged main\nlive a\nstaged b\nnot under management\nconf.d\nlocal.bak\nmain.conf\n"


def test_the_stage_word_is_the_root_and_nothing_else_is_touched(node: Node) -> None:
    said = isolated(node.check("printf", "%s\n", "{stage}", "a{stage}/b{stage}", "{other} {{x}} $STAGE", "{ stage}"))
    assert said == f"{node.root}\na{node.root}/b{node.root}\n{{other}} {{{{x}}}} $STAGE\n{{ stage}}\n"


def test_with_the_root_of_the_machine_the_stage_word_is_empty(tmp_path: Path) -> None:
    top = "etc/syncsrv-test-no-such-directory"
    node = Node(tmp_path, Path("/"), [top], {top: "/", f"{top}/a.conf": "staged\n"})
    said = isolated(node.check("sh", "-c", 'cat "$1"; echo "[$STAGE] $ROOT $1"', "sh", f"{{stage}}/{top}/a.conf"))
    assert said == f"staged\n[] / /{top}/a.conf\n"
    assert not Path("/", top).exists()


def test_a_top_whose_every_parent_is_missing_in_the_root_of_the_machine(tmp_path: Path) -> None:
    top = "syncsrv-test-no-such-directory/etc"
    node = Node(tmp_path, Path("/"), [top], {top: "/", f"{top}/a.conf": "staged\n"})
    writes = "for one in / /usr /etc /tmp /var; do touch $one/syncsrv-test-probe 2>/dev/null && echo $one; done"
    said = isolated(
        node.sh(f"cat /{top}/a.conf; test -c /dev/null && test -d /proc/1 && {writes}; test -e {node.state}/x; true")
    )
    assert said == "staged\n/tmp\n/var\n"
    assert not Path("/", top).parent.exists()


def test_metadata_is_staged_too(node: Node) -> None:
    live = node.live()
    planned = node.planned(live)
    planned[b"etc/app"] = trees.folder(0o750, Owner("", 1), Owner("", 2))
    planned[b"etc/app/conf.d"] = trees.folder(0o700, Owner("", 3))
    planned[b"etc/app/main.conf"] = trees.file(node.blobs, b"x", 0o640, Owner("", 4), Owner("", 5))
    with Stage(
        node.state / "stage", root=node.root, planned=planned, live=live, tops=[b"etc/app"], read_blob=node.blobs.read
    ) as stage:
        argv = ["sh", "-c", "cd {stage}/etc/app && stat -c '%n %a %u %g' . conf.d main.conf conf.d/a.conf"]
        (result,) = run_checks(stage, {"app": argv}, node="fw1")
    assert isolated(result) == ". 750 1 2\nconf.d 700 3 0\nmain.conf 640 4 5\nconf.d/a.conf 644 0 0\n"


def test_a_link_that_stays_or_changes_is_seen_as_it_would_be(tmp_path: Path) -> None:
    node = Node(tmp_path, tops=["etc/app", "etc/other"])
    node.write("etc/app/sites-available/default", "live default\n")
    node.write("etc/app/sites-available/new", "live new\n")
    node.write("etc/app/was-directory/x", "x\n")
    node.write("etc/app/was-file", "file\n")
    (node.root / "etc/app/sites-enabled").mkdir()
    (node.root / "etc/app/sites-enabled/default").symlink_to(node.root / "etc/app/sites-available/default")
    (node.root / "etc/app/sites-enabled/out").symlink_to("../../../../../../../../etc/hostname")
    (node.root / "etc/app/was-link").symlink_to("was-directory")
    (node.root / "etc/other").symlink_to("app/sites-available")
    node.changes = {
        "etc/app/sites-available/default": "staged default\n",
        "etc/app/sites-enabled/new": "-> ROOT/etc/app/sites-available/new",
        "etc/app/was-directory": "now a file\n",
        "etc/app/was-file": "/",
        "etc/app/was-file/inside": "inside\n",
        "etc/app/was-link": "/",
        "etc/app/was-link/y": "y\n",
        "etc/other": "-> app/was-link",
    }
    said = isolated(
        node.sh(
            "cd {stage}/etc/app; cat sites-enabled/default sites-enabled/new was-directory was-file/inside;"
            "readlink sites-enabled/out; ls was-link; ls ../other/"
        )
    )
    assert said == ("staged default\nlive new\nnow a file\ninside\n../../../../../../../../etc/hostname\ny\ny\n")


@pytest.mark.parametrize("change", ["staged\n", None, "/", "-> elsewhere"])
def test_a_top_that_is_a_file_may_become_anything(tmp_path: Path, change: str | None) -> None:
    node = Node(tmp_path, tops=["etc/app.conf"], changes={"etc/app.conf": change})
    node.write("etc/app.conf", "live\n")
    node.write("etc/beside", "beside\n")
    said = isolated(node.sh("cd {stage}/etc; stat -c '%N %F' app.conf 2>/dev/null || echo gone; cat beside"))
    seen = {
        "staged\n": "'app.conf' regular file",
        None: "gone",
        "/": "'app.conf' directory",
        "-> elsewhere": "'app.conf' -> 'elsewhere' symbolic link",
    }
    assert said == f"{seen[change]}\nbeside\n"
    assert (node.root / "etc/app.conf").read_text() == "live\n"


def test_an_area_that_is_missing_here_with_its_parents(tmp_path: Path) -> None:
    node = Node(tmp_path, tops=["srv/a/b"], changes={"srv/a/b": "/", "srv/a/b/c": "new\n"})
    assert isolated(node.sh("cat {stage}/srv/a/b/c; stat -c %a {stage}/srv")) == "new\n755\n"
    assert list(node.root.iterdir()) == []


def test_an_area_that_goes_away(tmp_path: Path) -> None:
    node = Node(tmp_path, changes={"etc/app": None})
    node.write("etc/app/x/y")
    assert isolated(node.sh("ls {stage}/etc")) == ""


def test_several_areas_are_all_in_the_stage(tmp_path: Path) -> None:
    node = Node(
        tmp_path, tops=["etc/app", "etc/tls", "etc/hosts"], changes={"etc/tls/key": "staged key\n", "etc/hosts": "h\n"}
    )
    node.write("etc/app/x", "x\n")
    node.write("etc/tls/key", "live key\n")
    node.write("etc/hosts", "live\n")
    assert isolated(node.sh("cd {stage}/etc; cat app/x tls/key hosts")) == "x\nstaged key\nh\n"


def test_names_that_mean_something_to_mount_or_to_us(tmp_path: Path) -> None:
    top = "etc/a:b,c=\\d e\n\u00e9"
    home = tmp_path / "x:y,z \\w"
    home.mkdir()
    node = Node(home, tops=[top], changes={f"{top}/f:1,2": "staged\n"})
    node.write(f"{top}/live", "live\n")
    assert isolated(node.sh('cd "$STAGE/etc/"a*; cat *')) == "staged\nlive\n"


WRITES = """
for place in / /etc /usr /root /home /boot /opt /srv /proc/sys/kernel/hostname /sys/kernel/mm \\
    /run /var /var/lib /tmp /dev /dev/shm $ROOT $ROOT/etc $ROOT/etc/app $ROOT/var $ROOT/var/lib $STATE $ELSEWHERE
do
    if [ -f "$place" ]; then value=$(cat "$place"); else place=$place/syncsrv-test-probe value=x; fi
    { echo "$value" >"$place"; } 2>/dev/null && echo "wrote ${place%/syncsrv-test-probe}"
done
rm -rf $ROOT/etc/app/conf.d $ROOT/var/lib && echo removed
echo more >>$ROOT/etc/app/main.conf && chmod 0 $ROOT/etc/app/main.conf && echo appended
"""


def test_what_a_check_writes_is_thrown_away_and_other_places_are_refused(node: Node) -> None:
    node.write("var/lib/app/db", "data")
    script = WRITES.replace("$STATE", str(node.state)).replace("$ELSEWHERE", "/mnt")
    said = isolated(node.sh(script)).splitlines()
    assert said[-2:] == ["removed", "appended"]
    taken = {line.partition(" ")[2] for line in said[:-2]}
    thrown_away = {"/run", "/var", "/var/lib", "/tmp", "/dev", "/dev/shm"}
    below_tmp = {str(node.root / one) for one in ("", "etc", "etc/app", "var", "var/lib")}
    assert taken == thrown_away | below_tmp
    for place in [*taken, "/", "/etc", "/usr", "/root", "/mnt", str(node.state)]:
        assert not Path(place, "syncsrv-test-probe").exists()
    assert (node.root / "var/lib/app/db").read_text() == "data"


def test_a_check_can_neither_undo_its_isolation_nor_reach_devices(node: Node) -> None:
    said = isolated(
        node.sh(
            "mount -o remount,rw / 2>/dev/null && echo remounted;"
            "umount -l {stage}/etc/app 2>/dev/null && echo unmounted;"
            "mknod /tmp/disk b 1 0 2>/dev/null && echo made a device;"
            "nsenter -t 1 -m true 2>/dev/null || echo no way out;"
            "unshare -Urm sh -c 'mount -o remount,rw,bind /usr && echo remounted' 2>/dev/null;"
            "unshare -Urm sh -c 'umount -l {stage}/../state && echo uncovered' 2>/dev/null;"
            "ls /dev; cat /proc/1/environ 2>/dev/null; grep NoNewPrivs /proc/self/status; ls /proc | grep -c '^[0-9]'"
        )
    )
    lines = said.splitlines()
    assert lines[0] == "no way out"
    assert lines[1:12] == [
        "fd",
        "full",
        "null",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "urandom",
        "zero",
        "NoNewPrivs:\t1",
    ]
    assert int(lines[12]) < 8, "the check sees the machine's processes"


def test_the_devices_it_has_are_those_of_the_machine_and_cannot_be_changed(node: Node) -> None:
    script = (
        "head -c 2 /dev/zero | od -An -tx1; echo gone >/dev/null; head -c 1 /dev/urandom | wc -c;"
        "echo x >/dev/full || echo full;"
        "awk '$5 ~ \"^/dev/(null|zero|full|u?random)$\" {print $5, substr($6, 1, 2)}' /proc/self/mountinfo"
    )
    lines = isolated(node.sh(script)).splitlines()
    assert [line.strip() for line in lines if "sh:" not in line] == [
        *("00 00", "1", "full"),
        *(f"/dev/{name} ro" for name in ("null", "zero", "full", "random", "urandom")),
    ]


def test_a_check_holds_no_capability_that_could_lift_it_out(node: Node) -> None:
    said = isolated(node.sh("sed -n 's/^Cap\\(Eff\\|Bnd\\|Prm\\):\\s*//p' /proc/self/status"))
    allowed = sum(1 << one for one in KEPT_CAPABILITIES)
    assert all(int(mask, 16) & ~allowed == 0 for mask in said.split())
    dangerous = {2, 16, 17, 19, 21, 22, 25, 27}  # DAC_READ_SEARCH, SYS_MODULE, RAWIO, PTRACE, ADMIN, BOOT, TIME, MKNOD
    assert not KEPT_CAPABILITIES & dangerous


def test_namespaces_are_its_own_but_for_the_network_and_the_users(node: Node) -> None:
    names = ("mnt", "pid", "ipc", "net", "user", "uts")
    said = isolated(node.sh("for one in " + " ".join(names) + "; do readlink /proc/self/ns/$one; done")).splitlines()
    ours = [os.readlink(f"/proc/self/ns/{name}") for name in names]
    shared = [name for name, here, there in zip(names, ours, said, strict=True) if here == there]
    assert shared == ["net", "user", "uts"]


def test_state_and_secrets_of_the_node_are_hidden(node: Node) -> None:
    (node.state / "key").write_text("private key")
    (node.state / "deep").mkdir()
    result = node.sh(f"ls -A {node.state}; cat {node.state}/key; touch {node.state}/new; true")
    assert "private key" not in isolated(result)
    assert "No such file" in result.output
    assert "Read-only file system" in result.output


def test_what_is_hidden_may_lie_in_an_area_and_may_be_a_file(node: Node) -> None:
    node.write("etc/app/own/secrets.yaml", "secret\n")
    node.write("etc/app/own.key", "secret\n")
    live = node.live(["etc/app/own", "etc/app/own.key"])
    with Stage(
        node.state / "stage",
        root=node.root,
        planned=node.planned(live),
        live=live,
        tops=[b"etc/app"],
        read_blob=node.blobs.read,
        hidden=[node.root / "etc/app/own", node.root / "etc/app/own.key", node.root / "no/such", node.root.parent],
    ) as stage:
        script = "cd {stage}/etc/app; ls -A own; cat own.key main.conf; echo x >own.key; true"
        (result,) = run_checks(stage, {"app": ["sh", "-c", script]}, node="fw1")
    assert result.isolated
    assert result.output.startswith("staged main\n")
    assert "Read-only file system" in result.output or "cannot create" in result.output
    assert result.note == f"{node.root.parent} holds what is checked, so the check could read all of it"


def test_sockets_of_daemons_in_run_cannot_be_spoken_to(node: Node) -> None:
    run = node.root / "run"
    run.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(run / "s"))
        server.listen()
        script = "import socket,sys; s=socket.socket(socket.AF_UNIX); print(s.connect_ex(sys.argv[1]) != 0)"
        said = isolated(node.check("/usr/bin/env", "-S", sys.executable, "-I", "-c", script, "{stage}/run/s"))
    assert said == "True\n"


def test_a_disk_that_is_filled_is_a_small_one(node: Node) -> None:
    result = node.sh("dd if=/dev/zero of=/tmp/syncsrv-test-fill bs=1M count=4096; df -m --output=used /tmp | tail -1")
    assert "No space left on device" in isolated(result)
    assert int(result.output.split()[-1]) <= 260


def test_a_large_log_is_empty_to_the_check_and_small_ones_are_not(node: Node) -> None:
    large = node.write("var/log/app/error.log")
    os.truncate(large, 3 << 20)
    os.chown(large, 7, 8)
    large.chmod(0o640)
    node.write("var/log/small.log", "small\n")
    said = isolated(
        node.sh("cd {stage}/var/log; echo more >>app/error.log; stat -c '%s %a %u %g' app/error.log; cat small.log")
    )
    assert said == "5 640 7 8\nsmall\n"
    assert large.stat().st_size == 3 << 20


NESTED = """
root={root}
mkdir -p $root/etc/app/part $root/etc/app/gone $root/var/lib/app $root/var/odd $root/etc/app/conf.d
echo hidden >$root/etc/app/part/below
mount -t tmpfs part $root/etc/app/part; echo live >$root/etc/app/part/main; echo other >$root/etc/app/part/other
mount -t tmpfs var $root/var; mkdir -p $root/var/lib/app $root/var/odd
mount -t tmpfs lib $root/var/lib; mkdir -p $root/var/lib/app; echo db >$root/var/lib/app/db
mount -t mqueue odd $root/var/odd; touch $root/var/odd/queue
touch $root/etc/resolv.conf $root/etc/hosts $root/etc/app/bound
echo resolv >{home}/resolv; mount --bind {home}/resolv $root/etc/resolv.conf
echo hosts >{home}/hosts; mount --bind {home}/hosts $root/etc/hosts
"""


def test_mounts_below_an_overlaid_directory_are_still_there(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    answer = elsewhere(
        in_place(NESTED.format(root=root, home=tmp_path)),
        tmp_path,
        ["sh", "-c", "cd {stage}; ls etc/app/part; cat etc/app/part/main etc/resolv.conf etc/hosts; cat var/lib/app/db;"
         " test -e var/odd/queue && echo bound back; for one in etc/app/part var/lib/app var/odd; do"
         " touch $one/x 2>/dev/null && echo wrote $one; done; true"],
        root=str(root),
        tops=["etc/app", "etc/nsswitch.conf", "etc/hosts"],
        changes={"etc/app/part/main": "staged\n", "etc/app/part/other": None, "etc/hosts": "staged hosts\n"},
    )  # fmt: skip
    assert (answer["status"], answer["isolated"], answer["note"]) == ("ok", True, ""), answer
    assert answer["output"] == (
        "main\nstaged\nresolv\nstaged hosts\ndb\nbound back\nwrote etc/app/part\nwrote var/lib/app\n"
    )


def test_many_mounts_need_no_more_descriptors_than_one(tmp_path: Path) -> None:
    """Hosts with containers have hundreds of mounts below /var."""
    root = tmp_path / "root"
    root.mkdir()
    enter = (
        f"cd {root}\nfor n in $(seq 60); do mkdir -p var/$n; mount -t tmpfs x var/$n; touch var/$n/here; done\n"
        "ulimit -n 40"
    )
    answer = elsewhere(in_place(enter), tmp_path, ["sh", "-c", "ls {stage}/var/*/here | wc -l"], root=str(root))
    assert (answer["isolated"], answer["note"], answer["output"]) == (True, "", "60\n")


def test_a_top_that_is_a_mounted_file(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hosts").write_text("below\n")
    (tmp_path / "hosts").write_text("mounted\n")
    enter = in_place(f"mount --bind {tmp_path}/hosts {root}/etc/hosts")
    argv = ["sh", "-c", "cat {stage}/etc/hosts 2>/dev/null || echo gone"]
    for change, seen in (("staged\n", "staged\n"), (None, "gone\n"), ("-> x", "gone\n")):
        answer = elsewhere(enter, tmp_path, argv, root=str(root), tops=["etc/hosts"], changes={"etc/hosts": change})
        assert (answer["isolated"], answer["output"]) == (True, seen)
    answer = elsewhere(enter, tmp_path, argv, root=str(root), tops=["etc/hosts"], changes={})
    assert answer["output"] == "mounted\n"


CONTAINER = """
made={home}/made{n}
mkdir -p $made; mount -t tmpfs made $made; mkdir $made/upper $made/work $made/new
mount -t overlay -o lowerdir={lower},upperdir=$made/upper,workdir=$made/work container $made/new
for one in /proc /dev /sys {seen}; do mkdir -p $made/new$one; mount --rbind $one $made/new$one; done
"""


def containers(home: Path, count: int) -> str:
    """A script that makes ``count`` overlays over the machine's root, each over the last, which is ``$made``."""
    lowers = ["/", *(f"{home}/made{n}/new" for n in range(count))]
    seen = f"{TOP} {sys.base_prefix} {home}"
    return "".join(CONTAINER.format(home=home, n=n, lower=lowers[n], seen=seen) for n in range(count))


IN_CONTAINER: dict[str, Any] = {
    "argv": [
        "sh",
        "-c",
        "cat {stage}/etc/syncsrv-test/new; ls /etc/hostname 2>/dev/null || echo hostname is gone;"
        "test -s /etc/passwd && echo passwd is there;"
        "touch /run/x /etc/syncsrv-test/x && echo wrote; touch /usr/x 2>/dev/null && echo wrote to usr;"
        "ls /etc/syncsrv-test; head -c 3 /dev/zero | wc -c",
    ],
    "root": "/",
    "tops": ["etc/syncsrv-test", "etc/hostname"],
    "changes": {"etc/syncsrv-test": "/", "etc/syncsrv-test/new": "staged\n", "etc/hostname": None},
}
SAID_IN_CONTAINER = "staged\nhostname is gone\npasswd is there\nwrote\nnew\nx\n3\n"


@pytest.mark.parametrize("enter", ["chroot", "pivot"])
def test_in_a_container_whose_root_is_an_overlay(tmp_path: Path, enter: str) -> None:
    into = {
        "chroot": 'set -- chroot $made/new "$@"',
        "pivot": "mkdir $made/new/old; cd $made/new; pivot_root . old; umount -l /old",
    }[enter]
    answer = elsewhere(in_place(f"{containers(tmp_path, 1)}\n{into}"), tmp_path, **IN_CONTAINER)
    assert (answer["status"], answer["isolated"], answer["note"]) == ("ok", True, ""), answer
    assert answer["output"] == SAID_IN_CONTAINER


def test_where_the_kernel_stacks_no_further_overlay_a_copy_is_checked(tmp_path: Path) -> None:
    enter = in_place(f'{containers(tmp_path, 2)}\nset -- chroot $made/new "$@"')
    answer = elsewhere(enter, tmp_path, **IN_CONTAINER)
    assert (answer["status"], answer["isolated"]) == ("ok", True), answer
    assert answer["output"] == SAID_IN_CONTAINER
    assert "no overlay over /etc (Invalid argument): the check saw a copy of it" in answer["note"]


def test_what_can_neither_be_overlaid_nor_copied_is_checked_in_a_folder(tmp_path: Path) -> None:
    root = "$made/new/srv"
    large = f"mkdir -p {root}/etc/app; truncate -s 100M {root}/etc/app/large"
    enter = in_place(f'{containers(tmp_path, 2)}\n{large}\nset -- chroot $made/new "$@"')
    argv = ["sh", "-c", "echo $STAGE; cat {stage}/etc/app/new"]
    answer = elsewhere(enter, tmp_path, argv, root="/srv", tops=["etc/app"], changes={"etc/app/new": "staged\n"})
    assert (answer["status"], answer["isolated"]) == ("ok", False), answer
    assert answer["output"].startswith(str(tmp_path / "state/stage/stage-"))
    assert "not isolated, an area is too large to be copied" in answer["note"]
    assert "absolute includes were read from the live system" in answer["note"]


def test_in_a_chroot_whose_root_is_no_mount(tmp_path: Path) -> None:
    """As on a Debian root made by debootstrap: there / is a directory of a filesystem that it shares with the host."""
    script = f"""
mkdir {tmp_path}/tree; mount --make-rshared /
for one in $(ls -A /); do
    if [ -L /$one ]; then ln -s "$(readlink /$one)" {tmp_path}/tree/$one
    elif [ -d /$one ]; then mkdir -p {tmp_path}/tree/$one; mount --rbind /$one {tmp_path}/tree/$one; fi
done
mount --make-rshared /
set -- chroot {tmp_path}/tree "$@"
"""
    answer = elsewhere(in_place(script), tmp_path, **IN_CONTAINER)
    assert (answer["status"], answer["isolated"], answer["note"]) == ("ok", True, ""), answer
    assert answer["output"] == SAID_IN_CONTAINER


def test_mounts_are_read_from_the_kernels_list_with_their_escapes() -> None:
    text = (
        b"21 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        b"22 21 0:5 / /a\\040b rw shared:7 master:2 - tmpfs tmpfs rw\n"
        b"23 22 0:6 / /a\\040b/c\\134d\\012\\011 rw - fuse.sshfs x rw\n"
        b"24 21 0:7 / /ab rw - xfs x rw\n"
    )
    assert mountpoints.read_mounts(text, b"") == {
        b"/": b"ext4",
        b"/a b": b"tmpfs",
        b"/a b/c\\d\n\t": b"fuse.sshfs",
        b"/ab": b"xfs",
    }
    assert mountpoints.read_mounts(text, b"/a b") == {b"/": b"tmpfs", b"/c\\d\n\t": b"fuse.sshfs"}


def test_a_kernel_without_mount_setattr_gets_the_same_view_mount_by_mount(tmp_path: Path) -> None:
    """What enter() falls back to below Linux 5.12, on a small tree."""
    script = f"""
import os
from syncsrv.checks import kernel, mounts
top = {os.fsencode(tmp_path)!r}
kernel.unshare(kernel.CLONE_NEWNS)
mounts.make_private(top)
kernel.mount(b"tmpfs", top, b"tmpfs")
os.mkdir(top + b"/in ner")
kernel.mount(b"tmpfs", top + b"/in ner", b"tmpfs")
mounts.restrict_each(top, open("/proc/self/mountinfo", "rb").read())
for place in (top, top + b"/in ner"):
    try:
        os.mkdir(place + b"/new")
    except OSError as error:
        print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=TOP, check=True)
    assert done.stdout == "30\n30\n"  # EROFS
