"""`windtunnel build-app`: puts a model into a benchmark app, without a server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.cli.io.console import json_option, print_json, say
from windtunnel.cli.io.files import read_json, require_file, write_file_whole
from windtunnel.cli.io.output_guard import force_option, require_outputs
from windtunnel.errors import InvalidInput

if TYPE_CHECKING:
    from windtunnel.app_builder import BenchmarkConfig, BuiltApp, IosSigner, Platform, SigningKey

_FILE: Final = click.Path(path_type=Path)
_SCHEMA: Final = "windtunnel.built_app/1"
_ANDROID_ONLY: Final = ("key", "cert", "test_base", "test_out")
_IOS_ONLY: Final = ("p12", "p12_password_file", "p12_password_env", "profile")


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of the command, as the user gave them."""

    model: Path
    base: Path
    out: Path
    config: Path | None
    key: Path | None
    cert: Path | None
    test_base: Path | None
    test_out: Path | None
    p12: Path | None
    p12_password_file: Path | None
    p12_password_env: str | None
    profile: Path | None
    force: bool

    @property
    def inputs(self) -> tuple[Path | None, ...]:
        """All files that are read."""
        return (self.model, self.base, self.config, self.key, self.cert, self.test_base, self.p12,
                self.p12_password_file, self.profile)  # fmt: skip


@click.command("build-app")
@click.argument("model", type=_FILE)
@click.option("--base", type=_FILE, required=True, help="The benchmark app: an .apk or an .ipa.")
@click.option("-o", "--out", type=_FILE, required=True, help="The package to write.")
@click.option("--config", type=_FILE, help="Arguments of the benchmark (JSON).")
@click.option("--key", type=_FILE, help="PEM private key that signs the APK; default: the one kept in WINDTUNNEL_HOME.")
@click.option("--cert", type=_FILE, help="PEM certificate of --key.")
@click.option("--test-base", type=_FILE, help="The test APK of an instrumentation, signed with the same key.")
@click.option("--test-out", type=_FILE, help="The signed test APK to write.")
@click.option("--p12", type=_FILE, help="Key and certificates that sign the IPA (PKCS #12); default: it is not signed.")
@click.option("--p12-password-file", type=_FILE, help="File with the password of --p12.")
@click.option("--p12-password-env", metavar="NAME", help="Environment variable with the password of --p12.")
@click.option("--profile", type=_FILE, help="Provisioning profile (.mobileprovision) for the IPA.")
@force_option
@json_option
def build_app(as_json: bool, **given: Any) -> int:
    """Puts a .tflite MODEL into a benchmark app and signs it. No server is needed.

    The platform follows from the base app: an APK gives a signed, aligned APK, with the model at
    assets/windtunnel/model.tflite; an IPA gives an IPA with the model and benchmark_params.json in benchmark_data/.
    App bundles (.aab) and split APKs are refused.

    The configuration may have: variant, accelerator, num_threads, num_runs, warmup_runs, run_id, cell_id, and
    arguments, a list of flags such as "--use_gpu=true".

    \b
    windtunnel build-app m.tflite --base benchmark.apk --out app.apk
    windtunnel build-app m.tflite --base benchmark.apk --out app.apk --config c.json --key k.pem --cert c.pem

    An instrumentation has two APKs, with one key:

    \b
    windtunnel build-app m.tflite --base app.apk --out a.apk --test-base test.apk --test-out t.apk

    IPAs, unsigned and signed:

    \b
    windtunnel build-app m.tflite --base TFLiteBenchmark.ipa --out app.ipa
    windtunnel build-app m.tflite --base TFLiteBenchmark.ipa --out app.ipa \\
        --p12 dev.p12 --p12-password-env P12_PASSWORD --profile dev.mobileprovision
    """
    options = _Options(**given)
    _require_pairs(options)
    require_outputs((options.out, options.test_out), inputs=options.inputs, force=options.force)
    app, test = _build(options)
    for built, path in ((app, options.out), (test, options.test_out)):
        if built is not None:
            say(f"wrote {path}")
    if as_json:
        print_json({**_document(app, options.out), "test_app": test and _document(test, options.test_out)})
    else:
        click.echo(_summary(app))
    return 0


def _require_pairs(options: _Options) -> None:
    for first, second in (("key", "cert"), ("test_base", "test_out"), ("p12", "profile")):
        if (getattr(options, first) is None) != (getattr(options, second) is None):
            raise click.UsageError(f"--{_dashed(first)} and --{_dashed(second)} go together: give both or neither")
    if options.p12_password_file is not None and options.p12_password_env is not None:
        raise click.UsageError("give --p12-password-file or --p12-password-env, not both")
    if options.p12 is None and (options.p12_password_file or options.p12_password_env):
        raise click.UsageError("a password needs --p12")


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _build(options: _Options) -> tuple[BuiltApp, BuiltApp | None]:
    """The package, and the test APK if there is one; both are written, or none."""
    from windtunnel.app_builder import BaseApp, BuildRequest, Platform, platform_of_base
    from windtunnel.app_builder import build as build_package

    model, base = options.model, options.base
    require_file(model, "model")
    require_file(base, "base app")
    config = _config(options)
    platform = platform_of_base(base)
    _refuse_other_platform(options, platform)
    key = _key(options) if platform is Platform.ANDROID else None
    ios = _ios_signer(options) if platform is Platform.IOS else None
    _require_tflite(options.model)
    done: list[BuiltApp] = []

    def write(made: Path) -> None:
        done.append(build_package(BuildRequest(platform, model, config, made, BaseApp(base, None)), key, ios))
        if options.test_out is not None:
            assert key is not None and done[0].facts is not None
            done.append(_build_test(options, key, done[0].facts.package_name))

    write_file_whole(options.out, write, force=options.force)
    return done[0], done[1] if len(done) > 1 else None


def _build_test(options: _Options, key: SigningKey, package: str) -> BuiltApp:
    from windtunnel.app_builder import BaseApp, TestAppRequest, build_test_app

    assert options.test_base is not None and options.test_out is not None
    require_file(options.test_base, "test app")
    base = BaseApp(options.test_base, None)
    done: list[BuiltApp] = []
    write_file_whole(
        options.test_out,
        lambda made: done.append(build_test_app(TestAppRequest(base, package, made), key)),
        force=options.force,
    )
    return done[0]


def _config(options: _Options) -> BenchmarkConfig:
    from windtunnel.app_builder.adapters.read_config import read_config
    from windtunnel.output_files import safe_file_name

    value = read_json(options.config, "configuration")
    # The name of a file may have what a variant's may not.
    name = safe_file_name(options.model.stem).lstrip("_-.") or "model"
    return read_config({} if value is None else value, f"configuration {options.config}", name)


def _refuse_other_platform(options: _Options, platform: Platform) -> None:
    names = _IOS_ONLY if platform == "android" else _ANDROID_ONLY
    wrong = next((name for name in names if getattr(options, name) is not None), None)
    if wrong is not None:
        other = "IPAs" if platform == "android" else "APKs"
        raise click.UsageError(f"--{_dashed(wrong)} is for {other}, and {options.base} is an app for {platform}")


def _key(options: _Options) -> SigningKey:
    from windtunnel.app_builder.adapters.keyfile import kept_key, load_key
    from windtunnel.client.endpoints import home_folder

    if options.key is not None and options.cert is not None:
        return load_key(options.key, options.cert)
    path = home_folder() / "android-signing.pem"
    if not path.exists():
        say(f"no --key: {path} is made, and signs from now on")
    return kept_key(path)


def _ios_signer(options: _Options) -> IosSigner | None:
    from windtunnel.app_builder import IosSigner

    if options.p12 is None or options.profile is None:
        say("no --p12: the app is not signed. Device farms that sign it themselves can run it; a phone cannot")
        return None
    signer = IosSigner.load(options.p12, _password(options), options.profile)
    if signer.lacks_issuer:
        say(f"{options.p12} lacks the certificate of its issuer; phones may refuse the app. Export it with its chain")
    return signer


def _password(options: _Options) -> bytes:
    if options.p12_password_env is not None:
        value = os.environ.get(options.p12_password_env)
        if value is None:
            raise InvalidInput(f"the variable {options.p12_password_env} is not set", hint="set it to the password")
        return value.encode()
    from windtunnel.app_builder.adapters.keyfile import password_in

    return password_in(options.p12_password_file or "")


def _require_tflite(model: Path) -> None:
    try:
        with model.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InvalidInput(f"model {model} cannot be read: {error.strerror}", hint="give a .tflite file") from error
    if start[4:] != b"TFL3" and start:
        say(f"{model} does not begin like a .tflite file; the benchmark app may refuse it")


def _document(built: BuiltApp, path: Path | None) -> dict[str, Any]:
    facts = built.facts
    assert facts is not None, "it was made from a base app"
    return {
        "schema": _SCHEMA,
        "path": str(path),
        "platform": built.platform.value,
        "kind": facts.kind.value,
        "sha256": built.sha256,
        "size_bytes": built.size_bytes,
        "model_sha256": built.model_sha256 or None,
        "package_name": facts.package_name,
        "min_os": facts.min_os or None,
        "abis": list(facts.abis),
        "runner": facts.runner or None,
        "scenarios": facts.scenarios or None,
        "signatures": list(built.signatures),
    }


def _summary(built: BuiltApp) -> str:
    facts = built.facts
    assert facts is not None, "it was made from a base app"
    signed = f"signed ({', '.join(built.signatures)})" if built.signatures else "not signed"
    abis = f", {' '.join(facts.abis)}" if facts.abis else ""
    system = f"{built.platform} {facts.min_os} or later" if facts.min_os else str(built.platform)
    return f"{facts.package_name} for {system}{abis}: {facts.kind}, {built.size_bytes / 1e6:.3g} MB, {signed}"
