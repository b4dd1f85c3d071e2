"""What `deploy/` says is true of the code: every setting is explained, and the parts of a deployment fit together."""

import ipaddress
import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click
import pytest
import yaml  # type: ignore[import-untyped]

from moviehub.entrypoints.cli import main
from moviehub.entrypoints.settings import PREFIX, Settings, SettingsError

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
EXAMPLE = (DEPLOY / "env.example").read_text()
SAMPLES = dict(re.findall(r"^# (MOVIEHUB_\w+)=(.*)$", EXAMPLE, re.MULTILINE))
SETTINGS = {PREFIX + setting.name.upper(): setting for setting in fields(Settings)}
SECRETS = ("MOVIEHUB_SECRET_KEY", "MOVIEHUB_PREVIOUS_SECRET_KEYS", "MOVIEHUB_TMDB_TOKEN")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of the Dockerfile, stage by stage."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    found: list[list[tuple[str, str]]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, rest.strip()))
    return found


def arguments(instruction: str) -> list[str]:
    """The words of an instruction of the last stage that is written as a list."""
    words: list[str] = yaml.safe_load(dict(stages()[-1])[instruction])
    return words


def test_env_example_has_every_setting_once_and_nothing_else() -> None:
    named = re.findall(r"^#? ?(\w+)=", EXAMPLE, re.MULTILINE)

    assert sorted(named) == sorted(SETTINGS)


def test_env_example_sets_nothing_by_itself() -> None:
    assert all(line.startswith("#") for line in EXAMPLE.splitlines() if line)


def test_env_example_explains_every_setting_in_the_lines_before_it() -> None:
    for paragraph in EXAMPLE.split("\n\n"):
        *told, last = paragraph.splitlines()
        if "=" in last:
            assert told, last
            assert all(not re.match(r"# MOVIEHUB_\w+=", line) for line in told), paragraph


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_with_a_default_is_shown_with_it(name: str) -> None:
    setting = SETTINGS[name]
    assert setting.default is not MISSING

    if setting.default not in ("", ()):
        assert setting.metadata["read"](SAMPLES[name]) == setting.default
    elif name not in SECRETS:
        assert SAMPLES[name]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_sample_is_a_value_that_the_setting_takes(name: str) -> None:
    Settings.read({name: SAMPLES[name]})


def test_env_example_holds_no_secret() -> None:
    assert {name: SAMPLES[name] for name in SECRETS} == dict.fromkeys(SECRETS, "")


def test_env_example_names_variables_of_others_that_the_page_about_them_explains() -> None:
    named = re.findall(r"^#   (\w+)$", EXAMPLE, re.MULTILINE)

    assert named == ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "SENTRY_DSN"]
    for name in named:
        assert name in (ROOT / "docs/tracing.md").read_text()


def environment(service: str) -> dict[str, str]:
    """What Compose sets for a service, with the secrets that deploy/.env must have."""
    told = {name: re.sub(r"\${\w+:\?[^}]*}", "placeholder", value) for name, value in environ(service).items()}
    return {**told, "MOVIEHUB_SECRET_KEY": "Vq3LhX0bTz7mKc9RfWu2YpJd5NsGa8Ei"}


def environ(service: str) -> dict[str, str]:
    found: dict[str, str] = SERVICES[service]["environment"]
    return found


@pytest.mark.parametrize("service", ["api", "worker", "migrate"])
def test_compose_gives_settings_that_production_takes(service: str) -> None:
    settings = Settings.read(environment(service))

    assert (settings.env, settings.storage, settings.cache) == ("production", "postgres", "redis")
    assert set(environ(service)) <= set(SETTINGS)


def test_compose_leaves_the_secret_key_to_the_env_file() -> None:
    assert SERVICES["api"]["env_file"] == ".env"
    with pytest.raises(SettingsError, match="MOVIEHUB_SECRET_KEY"):
        Settings.read({**environment("api"), "MOVIEHUB_SECRET_KEY": ""})


def test_only_nginx_can_be_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert COMPOSE["networks"]["back"]["internal"] is True
    assert [name for name, service in SERVICES.items() if "back" not in service["networks"]] == ["nginx"]


def test_the_api_believes_nobody_but_nginx_whom_it_speaks_for() -> None:
    (pool,) = COMPOSE["networks"]["front"]["ipam"]["config"]

    trusted = [ipaddress.ip_network(item) for item in Settings.read(environment("api")).trusted_proxies]

    assert trusted == [ipaddress.ip_network(pool["subnet"])]
    assert [name for name, service in SERVICES.items() if "front" in service["networks"]] == ["nginx", "api"]


def test_the_api_and_the_worker_start_when_the_schema_is_new_and_the_servers_are_well() -> None:
    assert SERVICES["migrate"]["command"] == ["migrate"]
    assert SERVICES["migrate"]["restart"] == "no"
    for service in ("api", "worker"):
        assert {name: waits["condition"] for name, waits in SERVICES[service]["depends_on"].items()} == {
            "migrate": "service_completed_successfully",
            "postgres": "service_healthy",
            "redis": "service_healthy",
        }


def test_whoever_must_be_healthy_has_a_health_check() -> None:
    awaited = {
        name
        for service in SERVICES.values()
        for name, waits in service.get("depends_on", {}).items()
        if waits["condition"] == "service_healthy"
    }

    # The check of the API is its image's.
    assert awaited == {name for name, service in SERVICES.items() if "test" in service.get("healthcheck", {})} - {
        "nginx"
    } | {"api"}
    assert "HEALTHCHECK" in dict(stages()[-1])


def test_the_database_keeps_its_data_in_a_volume() -> None:
    (mounted,) = SERVICES["postgres"]["volumes"]

    assert mounted.partition(":")[0] in COMPOSE["volumes"]
    assert SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


@pytest.mark.parametrize("service", ["api", "worker", "migrate"])
def test_our_containers_cannot_write_but_to_tmp(service: str) -> None:
    assert SERVICES[service]["tmpfs"] == "/tmp"
    assert not {"user", "volumes"} & set(SERVICES[service])  # the user is the image's


@pytest.mark.parametrize("service", SERVICES)
def test_no_container_has_rights_or_a_file_system_that_it_can_change(service: str) -> None:
    assert SERVICES[service]["read_only"] is True
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices"} & set(SERVICES[service])
    user = SERVICES[service].get("user") or next(rest for what, rest in stages()[-1] if what == "USER")
    assert user.split(":")[0] not in ("0", "root")


def test_the_processes_of_compose_fit_a_postgres_as_it_comes() -> None:
    serving = SERVICES["api"]["deploy"]["replicas"] * int(arguments("CMD")[-1])
    processes = serving + 2  # the worker, and the migration of an update

    assert processes * Settings().database_pool_size <= 100 - 3  # three are kept for superusers


def test_the_worker_can_reach_tmdb_and_nobody_asks_it_whether_it_is_well() -> None:
    ways_out = [
        name for name in SERVICES["worker"]["networks"] if not (COMPOSE["networks"][name] or {}).get("internal")
    ]

    assert ways_out == ["tmdb"]
    assert SERVICES["worker"]["healthcheck"] == {"disable": True}  # `up --wait` would wait for it in vain
    assert SERVICES["worker"]["restart"] == "unless-stopped"
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > 5


def test_the_worker_tells_its_numbers_where_prometheus_asks() -> None:
    name, *options = SERVICES["worker"]["command"]
    given = main.commands[name].make_context(name, options).params
    asked = yaml.safe_load((DEPLOY / "monitoring/prometheus.yml").read_text())["scrape_configs"]

    assert given["host"] == "0.0.0.0"  # the network `back` is internal
    assert [f"worker:{given['metrics_port']}"] in [job["static_configs"][0]["targets"] for job in asked]


@pytest.mark.parametrize(
    "words", [arguments("CMD"), SERVICES["migrate"]["command"], SERVICES["worker"]["command"]], ids=" ".join
)
def test_what_the_image_runs_is_a_command_of_ours(words: list[str]) -> None:
    name, *options = words

    assert arguments("ENTRYPOINT") == ["moviehub"]
    assert isinstance(main, click.Group)
    main.commands[name].make_context(name, options)  # refuses an option that there is not


def test_everything_that_the_image_installs_was_checked_against_the_lock() -> None:
    build, final = stages()
    after_download = False
    for instruction, rest in build:
        if instruction == "RUN" and "pip download" in rest:
            assert "--require-hashes" in rest
            assert "requirements.lock" in rest
        elif instruction == "ENV" and "PIP_NO_INDEX=1" in rest:
            after_download = True
        elif instruction == "RUN":
            assert after_download, rest
    assert after_download
    assert not [rest for instruction, rest in final if re.search(r"\b(pip|apt|apt-get|curl|wget)\b", rest)]


def test_the_image_has_traces_and_error_reports_and_all_that_they_need_is_locked() -> None:
    (extras,) = re.findall(r"install 'moviehub\[([\w,]+)\]'$", stages()[0][-1][1])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))

    assert extras.split(",") == ["otel", "sentry"]
    for extra in extras.split(","):
        assert {re.split(r"[^\w.-]", each)[0] for each in project["optional-dependencies"][extra]} <= locked


def test_the_image_runs_as_a_user_of_its_own_who_owns_nothing_in_it() -> None:
    final = stages()[-1]
    (user,) = [rest for instruction, rest in final if instruction == "USER"]
    (made,) = [rest for instruction, rest in final if instruction == "RUN"]

    assert int(user) > 0
    assert re.match(rf"useradd --system --uid {user} --no-create-home --shell /usr/sbin/nologin \w+$", made)
    assert not [rest for instruction, rest in final if instruction in ("COPY", "ADD") and "--ch" in rest]


def test_the_health_check_of_the_image_asks_the_port_that_is_served() -> None:
    final = dict(stages()[-1])
    serve = main.commands["serve"].make_context("serve", arguments("CMD")[1:])

    assert final["EXPOSE"] == str(serve.params["port"])
    assert f"http://127.0.0.1:{serve.params['port']}/health/live" in final["HEALTHCHECK"]


def test_the_build_sees_what_the_dockerfile_copies_and_nothing_else() -> None:
    copied = {
        source
        for instruction, rest in stages()[0]
        if instruction == "COPY"
        for source in rest.split()[:-1]
        if not source.startswith("--")
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in lines
    assert copied == {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / source).exists() for source in copied)
