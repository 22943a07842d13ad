"""Plug-ins: packages with an entry point, each in a folder as an installer leaves it, read by a new interpreter."""

import textwrap

import pytest

import msgflow as mf
from msgflow.errors import RegistryError, UnknownModel
from msgflow.messages import Request, user
from msgflow.models import PROVIDERS, Provider, SchemaTools, ScriptedModel, add_provider, chat
from msgflow.models.protocol import Profile
from tests.in_python import run_script

LOOK = "import sys; sys.path[:0] = sys.argv[1:]\nimport msgflow as mf\n"


@pytest.fixture
def install(tmp_path):
    """Installs a package of one module, with its entry point."""

    def install(name, code, *, entry=None):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[msgflow]\n{name} = {entry or name}\n")

    return install


@pytest.fixture
def look(tmp_path):
    """Runs a script where the packages are installed."""
    return lambda script: run_script(LOOK + textwrap.dedent(script), str(tmp_path))


REGISTERS = """
import msgflow as mf
mf.registry.new_group("{name}_steps")

@mf.registry.register("{name}_steps")
def upper(text):
    return text.upper()
"""
# Warnings are errors in these scripts; this keeps them.
KEEPING = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
"""


def keeping(*lines):
    return KEEPING + "".join(f"    {line}\n" for line in lines)


# --- what they add ---------------------------------------------------------------------------------------------------


def test_a_module_is_imported_when_a_group_is_missing(install, look):
    install("acme", REGISTERS.format(name="acme"))
    assert look("print(mf.registry.acme_steps.upper()('hi'))") == "HI"


@pytest.mark.parametrize("asking", ["'acme_steps' in mf.registry", "'acme_steps' in list(mf.registry)"])
def test_whoever_looks_around_sees_them(install, look, asking):
    install("acme", REGISTERS.format(name="acme"))
    assert look(f"print({asking})") == "True"


def test_a_name_that_a_group_lacks_may_come_from_a_plugin(install, look):
    install("acme", "import msgflow as mf\nmf.registry.register('steps')(len)")
    assert look("mf.registry.new_group('steps'); print(mf.registry.steps.len()('four'))") == "4"


def test_a_function_is_called(install, look):
    install("acme", "def add():\n    import msgflow as mf\n    mf.registry.new_group('acme_steps')", entry="acme:add")
    assert look("print(mf.registry.acme_steps)") == "Group('acme_steps': empty)"


def test_a_provider_is_found_by_chat(install, look):
    install(
        "acme",
        """
        from msgflow.models import Provider, add_provider
        add_provider(Provider(name="acme", base_url="https://llm.acme.example/v1", key_variable="ACME_API_KEY"))
        """,
    )
    assert look("print(mf.chat('acme/large').spec, 'acme' in mf.models.PROVIDERS)") == "acme/large True"


# --- when ------------------------------------------------------------------------------------------------------------


def test_nothing_is_loaded_by_an_import_or_by_what_is_there(install, look):
    install("acme", "print('loaded')")
    script = "mf.registry.new_group('a'); mf.registry.a; 'a' in mf.registry; mf.chat('openai/x'); repr(mf.registry)"
    assert look(script) == ""
    assert look("hasattr(mf.registry, '_repr_html_'); import copy; copy.copy(mf.registry)") == ""


def test_each_is_loaded_once(install, look):
    install("acme", "def add():\n    print('called')", entry="acme:add")
    assert look("'a' in mf.registry; 'b' in mf.registry; dir(mf.registry); hasattr(mf.registry, 'c')") == "called"


def test_a_forked_child_does_not_load_them_again(install, look):
    install("acme", "def add():\n    print('called', flush=True)", entry="acme:add")
    script = """
    import os
    'a' in mf.registry
    if os.fork() == 0:
        'a' in mf.registry
        os._exit(0)
    os.wait()
    """
    assert look(script) == "called"


def test_threads_that_look_at_the_same_time_wait_for_the_one_that_loads(install, look):
    install("acme", "import time; time.sleep(0.3)\n" + REGISTERS.format(name="acme"))
    script = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        print(*pool.map(lambda n: mf.registry.acme_steps.upper()(n), "abcdefgh"))
    """
    assert look(script) == "A B C D E F G H"


def test_a_plugin_finds_what_another_one_adds_whichever_is_loaded_first(install, look):
    uses = "import msgflow as mf\nmf.registry.register({group!r}, {name!r})(len)"
    install("aaa", uses.format(group="mmm_steps", name="a"))
    install("mmm", REGISTERS.format(name="mmm"))
    install("zzz", uses.format(group="mmm_steps", name="z"))
    assert look("print(*sorted(mf.registry.mmm_steps))") == "a upper z"


# --- broken ones -----------------------------------------------------------------------------------------------------


BROKEN = [
    ("1 / 0", "{}", "ZeroDivisionError: division by zero. `import {}` may show where"),
    ("import not_there", "{}", "ModuleNotFoundError: No module named 'not_there'. `import {}` may show where"),
    ("def (", "{}", "SyntaxError: "),
    ("raise SystemExit(3)", "{}", "SystemExit: 3. "),
    ("", "not_there_either", "ModuleNotFoundError: No module named 'not_there_either'"),
    ("", "{}:add", "AttributeError: module '{}' has no attribute 'add'"),
    ("add = 5", "{}:add", "it is of type int; name a module, or a function without arguments"),
    ("def add(x): pass", "{}:add", "TypeError: add() missing 1 required positional argument: 'x'"),
    ("async def add(): pass", "{}:add", "it is `async def`, and is called where nothing can wait for it; write `def`"),
    ("class add:\n    def __await__(self): yield", "{}:add", "it is `async def`"),
    ("import msgflow as mf\nmf.registry.new_group('mine')", "{}", "RegistryError: there is a group 'mine' already"),
    (
        "import msgflow as mf\nmf.registry.register('nobodys')(len)",
        "{}",
        "RegistryLookupError: the registry has no 'nobo",
    ),
]


def test_broken_ones_are_warned_about_by_name_once_and_the_others_load(install, look):
    expected = []
    for number, (code, entry, problem) in enumerate(BROKEN):
        name = f"bad{number}"
        install(name, code, entry=entry.format(name))
        start = f"the plug-in {name} = {entry.format(name)!r} of {name} could not be loaded: {problem.format(name)}"
        expected.append(f"RuntimeWarning: {start}")
    install("good", REGISTERS.format(name="good"))
    script = keeping("mf.registry.new_group('mine')", "print(mf.registry.good_steps.upper()('hi'))", "dir(mf.registry)")
    script += "print(*[f'{each.category.__name__}: {each.message}' for each in caught], sep='\\n')"
    answer, *told = look(script).split("\n")
    assert answer == "HI" and len(told) == len(expected)
    assert [start for start in expected if not any(line.startswith(start) for line in told)] == []


def test_a_broken_list_of_packages_is_warned_about(look):
    script = """
    import importlib.metadata
    def broken(**query):
        raise ValueError("damaged")
    importlib.metadata.entry_points = broken
    """
    looking = keeping("print('a' in mf.registry)", "print(caught[0].message)")
    told = "False\nno plug-ins: the list of installed packages cannot be read: ValueError: damaged"
    assert look(textwrap.dedent(script) + looking) == told


# --- providers of a program's own ------------------------------------------------------------------------------------


@pytest.fixture
def providers(monkeypatch):
    """The table, put back afterwards."""
    monkeypatch.setattr("msgflow.models.providers.PROVIDERS", PROVIDERS)
    before = dict(PROVIDERS)
    yield PROVIDERS
    PROVIDERS.clear()
    PROVIDERS.update(before)


@pytest.mark.usefixtures("providers")
def test_a_provider_with_a_protocol_of_its_own_makes_its_models():
    made = []

    def make(name, **options):
        made.append((name, options))
        return ScriptedModel("hello", name=name.replace("/", "-"))

    add_provider(Provider(name="borealis", make=make))
    model = chat("borealis/large/v2", api_key="k", temperature=0)
    assert made == [("large/v2", {"api_key": "k"})] and model.spec == "test/large-v2"
    assert mf.nn.Agent("a", chat("borealis/large"))("hi") == "hello"


@pytest.mark.usefixtures("providers")
async def test_what_its_models_lack_is_made_up_for():
    plain = ScriptedModel("hello", profile=Profile(native_tools=False))
    add_provider(Provider(name="borealis", make=lambda name: plain))
    model = chat("borealis/m")
    assert isinstance(model, SchemaTools)
    assert (await model.complete(Request((user("hi"),)))).text == "hello"


@pytest.mark.usefixtures("providers")
def test_what_it_makes_must_be_a_model():
    add_provider(Provider(name="borealis", make=lambda name: name))
    with pytest.raises(TypeError, match="the provider 'borealis' made a str for 'm', which is no model"):
        chat("borealis/m")


@pytest.mark.parametrize("name", ["openai", "local", "test"])
def test_a_provider_that_is_there_already_is_refused_and_stays(name, providers):
    before = dict(providers)
    with pytest.raises(RegistryError, match=f"there is a provider '{name}' already"):
        add_provider(Provider(name=name, base_url="https://elsewhere.example"))
    assert providers == before


@pytest.mark.parametrize("name", ["", "a/b", "a b", " a", "a\n"])
def test_a_name_that_no_spec_can_have_is_refused(name):
    with pytest.raises(RegistryError, match="cannot name a provider"):
        add_provider(Provider(name=name, base_url="https://x.example"))


def test_a_provider_is_somewhere():
    with pytest.raises(ValueError, match="'borealis' has no models: give base_url, or make"):
        add_provider(Provider(name="borealis"))
    with pytest.raises(TypeError, match="a Provider is expected, not 'borealis' of type str"):
        add_provider("borealis")


def test_a_provider_that_nobody_adds_is_unknown():
    with pytest.raises(UnknownModel, match="no provider for 'borealis/m'"):
        chat("borealis/m")
