# SPDX-License-Identifier: Apache-2.0
"""Places that stay the same while the document around them changes."""

import time

import pytest
from lxml import etree
from virtguard.watch.lasting_place import Siblings, find_place

DOCUMENT = etree.fromstring("""\
<transition>
  <before>
    <domstatus pid='1'><domain id='1'><devices>
      <disk><target dev='vda'/><iotune><a>1</a></iotune><alias name='virtio-disk0'/></disk>
      <disk><target dev='vdb'/><iotune><a>2</a></iotune><alias name='virtio-disk1'/></disk>
    </devices></domain></domstatus>
  </before>
  <after>
    <domstatus pid='2'><job async='backup' phase='x' asyncStarted='5'/><domain id='1'>
    <vcpu current='2'>4</vcpu><devices>
      <disk><target dev='vdb'/><iotune><a>3</a></iotune><alias name='virtio-disk1'/></disk>
      <disk><target dev='vdc'/><iotune/></disk>
      <input type='mouse'/><input type='keyboard'/>
      <memory><alias name='dimm0'/></memory>
    </devices></domain></domstatus>
    <domainsnapshot><name>s</name><creationTime>7</creationTime></domainsnapshot>
    <process pid='9' name='x'/>
  </after>
</transition>
""")
BEFORE, AFTER = DOCUMENT
INSIDE = '/transition/after/domstatus/domain'


@pytest.mark.parametrize(
    'path, key',
    [
        (INSIDE + '/devices/disk[1]/iotune', 'domstatus/domain/devices/disk[virtio-disk1]/iotune'),
        (INSIDE + '/devices/disk[2]/iotune', 'domstatus/domain/devices/disk[vdc]/iotune'),
        (INSIDE + '/devices/input[2]', 'domstatus/domain/devices/input[1]'),
        (INSIDE + '/devices/memory', 'domstatus/domain/devices/memory[dimm0]'),
        (INSIDE + '/vcpu/@current', 'domstatus/domain/vcpu/@current'),
        ('/transition/after/domstatus/job', 'domstatus/job[5]'),
        ('/transition/after/domainsnapshot', 'domainsnapshot[s 7]'),
        ('/transition/after/process', 'process[9]'),
    ],
)
def test_the_key_of_a_place(path, key):
    place = find_place(DOCUMENT, path)
    assert place is not None and place.key(AFTER) == key


@pytest.mark.parametrize(
    'path', ['/domain', '/transition/after/nothing', INSIDE + '/devices/disk[3]', INSIDE + '/devices/memory[2]']
)
def test_places_that_do_not_exist(path):
    assert find_place(DOCUMENT, path) is None


def test_the_same_place_before():
    place = find_place(DOCUMENT, INSIDE + '/devices/disk[1]/iotune')
    assert place.evidence() == '<iotune><a>3</a></iotune>'
    assert place.in_other(AFTER, BEFORE).evidence() == '<iotune><a>2</a></iotune>'
    assert find_place(DOCUMENT, INSIDE + '/devices/disk[2]/iotune').in_other(AFTER, BEFORE) is None
    assert find_place(DOCUMENT, INSIDE + '/vcpu/@current').in_other(AFTER, BEFORE) is None
    assert place.in_other(AFTER, None) is None


def test_an_attribute_that_was_not_there():
    place = find_place(DOCUMENT, '/transition/after/domstatus/@pid')
    assert place.in_other(AFTER, BEFORE).evidence() == '<domstatus pid="1">'
    place.attribute = 'nothing'
    assert place.evidence() == ''


def test_places_that_show_progress():
    assert find_place(DOCUMENT, '/transition/after/domstatus/job').is_progressing()
    assert find_place(DOCUMENT, '/transition/after/domstatus/job/@phase').is_progressing()
    assert not find_place(DOCUMENT, INSIDE + '/vcpu').is_progressing()


def test_siblings_are_counted_once():
    count = 20000
    root = etree.fromstring('<d><before>%s</before><after>%s</after></d>' % (('<os id="" />' * count,) * 2))
    siblings = Siblings()
    start = time.process_time()
    for number in (1, count // 2, *range(count - 500, count + 1)):
        place = find_place(root, '/d/after/os[%d]' % number, siblings)
        assert place.key(root[1]) == 'os' + ('[%d]' % (number - 1) if number > 1 else '')
        assert place.in_other(root[1], root[0]).element is root[0][number - 1]
    assert time.process_time() - start < 2  # one by one it takes minutes
