"""Hooks: what they are told, what their end does, whose they may be; and the examples that are shipped."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from syncsrv.apply.hooks import HookContext, HookError, HookName, Hooks
from syncsrv.process import OUTPUT_KEPT
from syncsrv.shipped import folder

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "config"
    (directory / "hooks").mkdir(parents=True)
    for path in (directory, directory / "hooks"):
        path.chmod(0o755)
    return directory


@pytest.fixture
def context(tmp_path: Path) -> HookContext:
    root = tmp_path / "root"
    root.mkdir()
    return HookContext(
        node="fw2",
        job="0123456789ab",
        kind="sync",
        tag="sync/000041",
        areas=("proxy", "dns"),
        root=root,
        reason="Open port 8443\nfor the portal",
        person="alice via fw1",
        paths=("/etc/nginx/nginx.conf", "/etc/nginx/odd-\udcff"),
    )


def install(config: Path, name: HookName, script: str, mode: int = 0o755) -> Path:
    hook = config / "hooks" / name
    hook.write_text(script)
    hook.chmod(mode)
    return hook


def test_without_hooks_nothing_is_asked(config: Path, context: HookContext, tmp_path: Path) -> None:
    for directory in (config / "hooks", tmp_path / "no such directory"):
        hooks = Hooks(directory)
        assert hooks.before(context) == "no pre-apply hook"
        assert (hooks.after(context).words, hooks.after(context).failed) == ("no post-apply hook", False)


@pytest.mark.parametrize("name", HookName)
def test_what_a_hook_is_told(config: Path, context: HookContext, tmp_path: Path, name: HookName) -> None:
    said = tmp_path / "said"
    script = f"""#!/bin/sh
cat >{said}.json
env -0 | sort -z >{said}.env
echo "$0" "$@"; pwd; echo to stderr >&2
"""
    hook = install(config, name, script)
    hooks = Hooks(config / "hooks")
    words = hooks.before(context) if name is HookName.PRE_APPLY else hooks.after(context).words
    assert words == f"{hook} 0123456789ab\n/\nto stderr"
    document = json.loads(Path(f"{said}.json").read_text())
    assert document == {
        "node": "fw2",
        "job": "0123456789ab",
        "kind": "sync",
        "tag": "sync/000041",
        "areas": ["proxy", "dns"],
        "root": str(context.root),
        "reason": "Open port 8443\nfor the portal",
        "person": "alice via fw1",
        "paths": ["/etc/nginx/nginx.conf", "/etc/nginx/odd-\udcff"],
    }
    environment = dict(one.split("=", 1) for one in Path(f"{said}.env").read_text().split("\0") if one)
    for shells_own in ("PWD", "OLDPWD", "SHLVL", "_"):
        environment.pop(shells_own, None)
    assert environment == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "SYNCSRV_NODE": "fw2",
        "SYNCSRV_JOB": "0123456789ab",
        "SYNCSRV_KIND": "sync",
        "SYNCSRV_TAG": "sync/000041",
        "SYNCSRV_AREAS": "proxy dns",
        "SYNCSRV_ROOT": str(context.root),
        "SYNCSRV_REASON": "Open port 8443\nfor the portal",
        "SYNCSRV_PERSON": "alice via fw1",
    }


def test_the_readme_names_every_variable_and_every_key(context: HookContext) -> None:
    readme = (folder("hooks") / "README.md").read_text()
    for name in [*context.environment(), *json.loads(context.document())]:
        assert f"`{name}`" in readme


def test_a_pre_apply_hook_refuses_in_its_own_words(config: Path, context: HookContext) -> None:
    hook = install(config, HookName.PRE_APPLY, "#!/bin/sh\necho first\necho 'not in the freeze' >&2\nexit 7\n")
    with pytest.raises(HookError) as caught:
        Hooks(config / "hooks").before(context)
    assert caught.value.message == f"cannot apply: the pre-apply hook {hook} exited with 7: first\nnot in the freeze"
    assert caught.value.remedy


def test_a_post_apply_hook_that_fails_is_a_warning(config: Path, context: HookContext) -> None:
    hook = install(config, HookName.POST_APPLY, "#!/bin/sh\necho 'no mail server'\nkill -9 $$\n")
    said = Hooks(config / "hooks").after(context)
    assert said.failed
    assert said.words == f"the post-apply hook {hook} was ended by signal 9: no mail server"


def test_a_hook_that_hangs_ends_with_its_deadline(config: Path, context: HookContext) -> None:
    install(config, HookName.PRE_APPLY, "#!/bin/sh\nsleep 86400 &\nwait\n")
    with pytest.raises(HookError, match=r"did not end within 0\.3 s"):
        Hooks(config / "hooks", deadline_s=0.3).before(context)


def test_a_hook_that_floods_is_bounded(config: Path, context: HookContext) -> None:
    install(config, HookName.PRE_APPLY, "#!/bin/sh\nyes | head -c 9000000\n")
    assert len(Hooks(config / "hooks").before(context)) < OUTPUT_KEPT + 100
    install(config, HookName.PRE_APPLY, "#!/bin/sh\nyes | head -c 9000000; echo end; exit 1\n")
    with pytest.raises(HookError) as caught:
        Hooks(config / "hooks").before(context)
    assert caught.value.message.endswith("y\nend")
    assert len(caught.value.message) < 3000


def test_a_hook_that_reads_nothing_is_content_with_many_paths(config: Path, context: HookContext) -> None:
    many = replace(context, paths=("/etc/x" * 40,) * 20_000)
    install(config, HookName.PRE_APPLY, "#!/bin/sh\nexec echo content\n")
    assert Hooks(config / "hooks").before(many) == "content"
    install(config, HookName.PRE_APPLY, "#!/bin/sh\nwc -c\n")
    assert int(Hooks(config / "hooks").before(many)) == len(many.document())


def test_a_reason_that_no_environment_can_hold(config: Path, context: HookContext) -> None:
    install(config, HookName.PRE_APPLY, '#!/bin/sh\nprintf %s "$SYNCSRV_REASON" | wc -c\n')
    said = {}
    for reason in ("a\0b", "x" * 1_000_000):
        told = replace(context, reason=reason)
        said[reason[:3]] = int(Hooks(config / "hooks").before(told))
    assert said == {"a\0b": 2, "xxx": 16384}


class TestRefused:
    """A hook that somebody else could have put there, or that cannot run, is never passed over in silence."""

    def refusal(self, config: Path, context: HookContext) -> str:
        with pytest.raises(HookError) as caught:
            Hooks(config / "hooks").before(context)
        return str(caught.value)

    def test_not_executable(self, config: Path, context: HookContext) -> None:
        hook = install(config, HookName.PRE_APPLY, "#!/bin/sh\n", mode=0o644)
        assert self.refusal(config, context) == (
            f"cannot apply: the pre-apply hook {hook} is not executable; chmod +x {hook}, or remove it"
        )

    @pytest.mark.parametrize("place", ["hooks/pre-apply", "hooks", "."])
    @pytest.mark.parametrize("mode", [0o775, 0o757])
    def test_others_may_write_it(self, config: Path, context: HookContext, place: str, mode: int) -> None:
        install(config, HookName.PRE_APPLY, "#!/bin/sh\n")
        (config / place).chmod(mode)
        said = self.refusal(config, context)
        assert f"was not run, for others may write to {config / place}; chmod go-w" in said

    @pytest.mark.skipif(not IS_ROOT, reason="needs root: another owner")
    @pytest.mark.parametrize("place", ["hooks/pre-apply", "hooks", "."])
    def test_it_belongs_to_another(self, config: Path, context: HookContext, place: str) -> None:
        install(config, HookName.PRE_APPLY, "#!/bin/sh\n")
        os.chown(config / place, 65534, 65534)
        assert f"was not run, for {config / place} belongs to another user" in self.refusal(config, context)

    def test_a_link(self, config: Path, context: HookContext, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.write_text("#!/bin/sh\n")
        target.chmod(0o755)
        for name in HookName:
            (config / "hooks" / name).symlink_to(target)
        assert "is not a file; put the program itself there" in self.refusal(config, context)
        assert "is not a file" in Hooks(config / "hooks").after(context).words

    @pytest.mark.parametrize("script, why", [("#!/no/such/interpreter\n", "No such file"), ("\x7fgarbage", "format")])
    def test_no_program(self, config: Path, context: HookContext, script: str, why: str) -> None:
        install(config, HookName.PRE_APPLY, script)
        said = self.refusal(config, context)
        assert "cannot be executed" in said
        assert why in said


class TestExamples:
    def test_pre_apply_refuses_while_the_flag_is_there(self, config: Path, context: HookContext) -> None:
        install(config, HookName.PRE_APPLY, (folder("hooks") / "pre-apply.example").read_text())
        hooks = Hooks(config / "hooks")
        assert hooks.before(context) == ""
        flag = context.root / "run/no-sync"
        flag.parent.mkdir()
        flag.write_text("migration until Friday, ask Bob\n")
        with pytest.raises(HookError, match=f"{flag} is in place: migration until Friday, ask Bob"):
            hooks.before(context)
        flag.unlink()
        assert hooks.before(context) == ""

    def test_post_apply_keeps_a_log(self, config: Path, context: HookContext) -> None:
        install(config, HookName.POST_APPLY, (folder("hooks") / "post-apply.example").read_text())
        for _ in range(2):
            said = Hooks(config / "hooks").after(context)
            assert not said.failed, said.words
        lines = (context.root / "var/log/syncsrv-applied.jsonl").read_text().splitlines()
        assert [json.loads(line)["tag"] for line in lines] == ["sync/000041", "sync/000041"]

    def test_they_are_shipped_executable(self) -> None:
        for name in ("pre-commit", "pre-apply.example", "post-apply.example"):
            assert (folder("hooks") / name).stat().st_mode & 0o111 == 0o111
