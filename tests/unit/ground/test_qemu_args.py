# SPDX-License-Identifier: Apache-2.0
"""QEMU's option syntax (util/qemu-option.c, util/keyval.c, qobject/json-*.c), as far as a setting could hide in it."""

import contextlib
import json
import time

import pytest
from virtguard.errors import DomainXMLError
from virtguard.qemu_args import parse_tokens


def read(*tokens):
    return [(option.name, option.token, option.settings) for option in parse_tokens(tokens)]


def values(tokens, key):
    """What a match on `key`, or on a nested one that ends in it, gets to see."""
    return [
        value
        for option in parse_tokens(tokens)
        for name, value in option.settings
        if name == key or name.endswith('.' + key)
    ]


@pytest.mark.parametrize(
    'tokens, expected',
    [
        ([], []),
        (['-snapshot'], [('snapshot', 0, [])]),
        (['-device', 'edu'], [('device', 1, [('driver', 'edu')])]),
        (['--device', 'edu'], [('device', 1, [('driver', 'edu')])]),
        (['-snapshot', '-device', 'edu'], [('snapshot', 0, []), ('device', 2, [('driver', 'edu')])]),
        (['-device', 'edu', '-S'], [('device', 1, [('driver', 'edu')]), ('S', 2, [])]),
        # An option whose value is missing, or looks like an option.
        (['-device'], [('device', 0, [])]),
        (['-device', '-S'], [('device', 0, []), ('S', 1, [])]),
        # Neither is an option to QEMU.
        (['-'], [('drive', 0, [('file', '-')])]),
        ([''], [('drive', 0, [('file', '')])]),
        (['-device', '-'], [('device', 1, [('driver', '-')])]),
        (['--'], [('', 0, [])]),
        # A stray token is a disk image, commas and all.
        (['disk.qcow2,if=virtio'], [('drive', 0, [('file', 'disk.qcow2,if=virtio')])]),
        # -M is -machine.
        (['-M', 'q35,accel=tcg'], [('machine', 1, [('type', 'q35'), ('accel', 'tcg')])]),
    ],
    ids=str,
)
def test_tokens(tokens, expected):
    assert read(*tokens) == expected


@pytest.mark.parametrize(
    'option, key',
    [
        ('accel', 'accel'),
        ('blockdev', 'driver'),
        ('chardev', 'backend'),
        ('device', 'driver'),
        ('display', 'type'),
        ('fsdev', 'fsdriver'),
        ('fw_cfg', 'name'),
        ('machine', 'type'),
        ('net', 'type'),
        ('netdev', 'type'),
        ('nic', 'type'),
        ('object', 'qom-type'),
        ('tpmdev', 'type'),
        ('icount', 'value'),
    ],
)
def test_first_word_stands_for_a_key(option, key):
    assert read('-' + option, 'x,id=a') == [(option, 1, [(key, 'x'), ('id', 'a')])]
    assert read('-' + option, 'id=a,%s=x' % key) == [(option, 1, [('id', 'a'), (key, 'x')])]


@pytest.mark.parametrize(
    'value, expected',
    [
        ('x,a=1,b=2', [('driver', 'x'), ('a', '1'), ('b', '2')]),
        # A doubled comma is a comma, also beside a separator.
        ('x,path=/a,,b,c=d', [('driver', 'x'), ('path', '/a,b'), ('c', 'd')]),
        ('x,path=/a,,,c=d', [('driver', 'x'), ('path', '/a,'), ('c', 'd')]),
        ('a,,b,c=d', [('driver', 'a,b'), ('c', 'd')]),
        # Only the first = separates.
        ('x,opts=a=b', [('driver', 'x'), ('opts', 'a=b')]),
        ('x,a=', [('driver', 'x'), ('a', '')]),
        # Words that are switches, and their negation. A word that begins with "no" may also be just that.
        ('x,failover', [('driver', 'x'), ('failover', 'on')]),
        ('x,nofailover', [('driver', 'x'), ('nofailover', 'on'), ('failover', 'off')]),
        ('x,', [('driver', 'x')]),
        ('', [('driver', '')]),
        # A repeated key: all of it, in order.
        ('x,driver=y,driver=z', [('driver', 'x'), ('driver', 'y'), ('driver', 'z')]),
    ],
)
def test_settings(value, expected):
    assert read('-device', value) == [('device', 1, expected)]


@pytest.mark.parametrize('option', ['serial', 'parallel', 'debugcon', 'virtioconsole', 'monitor', 'gdb'])
@pytest.mark.parametrize('value', ['mon:unix:/run/a=b,server=on', 'mon:stdio', 'mon:udp:a@b=c'])
def test_old_character_devices_are_texts(option, value):
    assert [text for text in values(['-' + option, value], 'value') if text.startswith('mon:')]


@pytest.mark.parametrize(
    'value, expected',
    [
        ('ICH9-LPC.disable_s3=0', ('ICH9-LPC', 'disable_s3', '0')),
        ('ICH9-LPC.x-a.b=0', ('ICH9-LPC', 'x-a.b', '0')),
        # In the short form, commas belong to the value.
        ('virtio-net-pci.failover=on,value=off', ('virtio-net-pci', 'failover', 'on,value=off')),
        ('a.b=\nc', ('a', 'b', '\nc')),
    ],
)
def test_global_short_form(value, expected):
    assert read('-global', value) == [('global', 1, list(zip(('driver', 'property', 'value'), expected)))]


def test_global_long_form():
    expected = [('property', 'failover'), ('value', 'on'), ('driver', 'virtio-net-pci')]
    assert read('-global', 'property=failover,value=on,driver=virtio-net-pci') == [('global', 1, expected)]


@pytest.mark.parametrize(
    'change, expected',
    [
        ('device.a.host=03:10.1', {'driver': 'vfio-pci', 'id': 'a', 'host': '03:10.1'}),
        ('device.b.host=03:10.1', {'driver': 'edu', 'id': 'b', 'host': '03:10.1'}),
        ('device.a.driver=edu', {'driver': 'edu', 'id': 'a'}),
        ('device.a.x=a=b,c', {'driver': 'vfio-pci', 'id': 'a', 'x': 'a=b,c'}),
        # What libvirt itself put on the command line, the guard has not seen.
        ('device.net0.failover=on', {'failover': 'on'}),
        ('drive.a.throttling.iops-total=5', {'throttling.iops-total': '5'}),
    ],
)
def test_set_changes_another_option(change, expected):
    tokens = ['-device', 'vfio-pci,id=a', '-device', 'edu,id=b', '-set', change]
    (reading,) = [option for option in parse_tokens(tokens) if option.token == 5]
    assert reading.name == change.partition('.')[0]
    assert dict(reading.settings) == expected


@pytest.mark.parametrize(
    'value, expected',
    [
        ('{"driver": "edu", "id": "a"}', [('driver', 'edu'), ('id', 'a')]),
        ('{"\\u0064river": "ed\\u0075"}', [('driver', 'edu')]),
        ('{"a": {"b": {"driver": "edu"}}}', [('a.b.driver', 'edu')]),
        ('{"a": [{"driver": "edu"}, "x"]}', [('a.0.driver', 'edu'), ('a.1', 'x')]),
        ('{"on": true, "off": false, "n": 7}', [('on', 'true'), ('off', 'false'), ('n', '7')]),
        ('{"a.driver": "edu"}', [('a.driver', 'edu')]),
        ('\t{}', [('driver', '\t{}')]),
        # Strings in single quotes are QEMU's own.
        ("{'driver': 'edu'}", [('driver', 'edu')]),
        ('{\'a\': \'say "x"\', "b": "it\'s"}', [('a', 'say "x"'), ('b', "it's")]),
        ("{'a': 'it\\'s', 'b': '\\\\'}", [('a', "it's"), ('b', '\\')]),
        ("{'\\u0064river': 'edu'}", [('driver', 'edu')]),
        # So are all escapes in both kinds of string.
        ('{"driver": "edu", "id": "it\\\'s"}', [('driver', 'edu'), ('id', "it's")]),
        ("{'driver': 'edu', 'id': 'a\\\"b'}", [('driver', 'edu'), ('id', 'a"b')]),
        # A quote of the one kind within the other, escaped braces and commas change nothing.
        ('{"id": "}, \'driver\': \'x\'", "driver": "edu"}', [('id', "}, 'driver': 'x'"), ('driver', 'edu')]),
    ],
)
def test_json(value, expected):
    assert ('device', 1, expected) in read('-device', value)


@pytest.mark.parametrize('option', ['accel', 'tpmdev', 'nic', 'machine', 'device'])
def test_what_only_looks_like_json_is_read_as_settings(option):
    """-accel, -tpmdev, -nic and -machine never take JSON, -device not before QEMU 6.2; the last of a key counts."""
    key = read('-' + option, 'x')[0][2][0][0]
    assert 'hidden' in values(['-' + option, '{,%s=hidden' % key], key)


@pytest.mark.parametrize(
    'tokens',
    [
        # Commas are doubled in -drive, which is split at them.
        ['-drive', 'if=none,file=json:{"driver": "raw",, "file": {"driver": "throttle"}}'],
        ['-drive', 'if=none,file=json:{"\\u0064river": "throttle"}'],
        ['-drive', "if=none,file=json:{'driver': 'throttle'}"],
        ['-drive', 'file.driver=throttle'],
        ['-blockdev', '{"driver": "raw", "file": {"driver": "throttle"}}'],
        ['-blockdev', 'driver=raw,file.driver=throttle'],
        # Space before the object is none of QEMU's business.
        ['-drive', 'if=none,file=json: {"driver": "throttle"}'],
        ['-drive', 'if=none,file=json:\t\n{"driver": "throttle"}'],
        ['json: {"driver": "throttle"}'],
        # The whole token is the name of the image.
        ['json:{"driver": "throttle", "throttle-group": "limit0"}'],
        ['-snapshot', 'json:{"driver": "throttle", "throttle-group": "limit0"}'],
        ['-hda', 'json:{"driver": "throttle", "throttle-group": "limit0"}'],
        ['-cdrom', 'json:{"driver": "throttle", "throttle-group": "limit0"}'],
        ['-pflash', 'json:{"throttle-group": "limit0", "driver": "throttle"}'],
        # Drivers that hand the rest of the name on.
        ['-drive', 'file=blkdebug::json:{"driver": "throttle"}'],
    ],
    ids=lambda tokens: tokens[0] + ' ' + tokens[-1][:30],
)
def test_pseudo_file_names_are_read(tokens):
    assert 'throttle' in values(tokens, 'driver')


@pytest.mark.parametrize(
    'value',
    ['{', '{"driver": "edu"', '{"driver": edu}', "{'driver': \"edu'}", '{"a": "\\x"}', '{\x00}', '{"a":1}}'],
)
def test_unreadable_json_is_not_an_error(value):
    """QEMU refuses the argument, so nothing hides in it; the guard must not stumble."""
    assert {(name, token) for name, token, _ in read('-device', value)} == {('device', 1)}


@pytest.mark.parametrize('depth', [10, 100, 400, 900, 980, 1020, 2000, 20000, 200000])
@pytest.mark.parametrize('opening, closing', [('{"a":', '}'), ('[', ']')], ids=['objects', 'arrays'])
def test_deep_json_is_read_or_refused(depth, opening, closing):
    value = '{"x":' + opening * depth + '1' + closing * depth + ',"driver":"edu"}'
    try:
        assert values(['-device', value], 'driver') == ['edu']
    except DomainXMLError as error:
        assert depth > 300
        assert 'nested too deep' in error.message


@pytest.mark.parametrize(
    'value',
    [
        '{' + '\\"' * 25000,
        '{' + '"' * 100001,
        '{' + "'\\" * 25000,
        '{"driver": "%s"}' % ('x' * 1000000),
        ','.join('k%d=v' % number for number in range(50000)),
        ',' * 1000000,
        'json:' * 100000,
    ],
    ids=['escaped quotes', 'quotes', 'apostrophes', 'long', 'many', 'commas', 'prefixes'],
)
def test_hostile_arguments_take_no_time(value):
    """A deadline ends what takes too long, but then `failure: admit` would open the door."""
    started = time.monotonic()
    with contextlib.suppress(DomainXMLError):
        for option in parse_tokens(['-device', value, '-drive', 'file=' + value]):
            assert dict(option.settings)
    assert time.monotonic() - started < 2


def test_names_and_values_stay_as_written():
    settings = [('wéird key', 'Ünï'), ('a:b', '\ud7ff')]
    assert ('device', 1, settings) in read('-device', json.dumps(dict(settings)))


@pytest.mark.parametrize('order', [1, -1])
def test_a_setting_that_json_has_in_two_ways(order):
    """Of "file.driver" and "file": {"driver"}, QEMU takes the second one, in whatever order."""
    parts = ['"file.driver": "file"', '"file": {"driver": "throttle"}'][::order]
    (option,) = [o for o in parse_tokens(['-blockdev', '{"driver": "raw", %s}' % ', '.join(parts)])]
    assert {'file', 'throttle'} == {settings['file.driver'] for settings in option.readings()}


@pytest.mark.parametrize('different', [True, False])
def test_many_changes_take_no_time(different):
    """A watch judges so much in its own process."""
    tokens = ['-device', 'a,%s,id=x' % ','.join('s%d=' % number for number in range(400))]
    for number in range(650):
        tokens += ['-set', 'device.x.k%d=v' % (number if different else 0)]
    before = time.process_time()
    with pytest.raises(DomainXMLError):
        parse_tokens(tokens)
    assert time.process_time() - before < 0.2


@pytest.mark.parametrize(
    ('value', 'said'),
    [
        ('{"%s": [%s]}' % ('k' * 300000, ', '.join('0' * 900)), 'says more than that of any real domain'),
        ('{"k": [%s]}' % ', '.join('0' * 20000), 'says more than that of any real domain'),
        ('virtio-net' + ',a=b' * 3000, 'has more than 1000 settings'),
        ('virtio-net' + ',a' * 2000000, 'has more than 1000 settings'),
    ],
)
def test_a_few_bytes_that_say_very_much(value, said):
    with pytest.raises(DomainXMLError, match=said):
        list(parse_tokens(['-device', value]))
