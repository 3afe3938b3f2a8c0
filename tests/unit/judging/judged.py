# SPDX-License-Identifier: Apache-2.0
"""A domain, and the verdict of some rules on it."""

from support.made import policy, rule
from virtguard import model
from virtguard.judging.evaluate import evaluate
from virtguard.judging.subject import parse_domain
from virtguard.match.syntax import QEMU_NS

XML = (
    """\
<domain type='kvm' xmlns:qemu='%s'>
  <name>payroll</name>
  <uuid>6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11</uuid>
  <devices>
    <disk type='file'>
      <target dev='vda'/>
    </disk>
    <disk type='block'>
      <source dev='/dev/sdb'/>
      <target dev='vdb'/>
    </disk>
%%s
  </devices>
</domain>
"""
    % QEMU_NS
)


ARG = "<qemu:arg value='%s'/>"
TODAY = '2026-11-25'


def command_line(*elements):
    body = ''.join(elements)
    return XML.replace('</domain>', '<qemu:commandline>%s</qemu:commandline></domain>' % body) % ''


def facts(arch='x86_64', container='none', os='rhel-8.10', probe=None):
    return model.HostFacts(arch, container, os, probe or no_probe)


def no_probe(name, subject):
    raise AssertionError('the probe %s is asked about %r' % (name, subject))


def verdict(*rules, xml=XML % '', host=None, **settings):
    return evaluate(policy(*rules, **settings), parse_domain(xml.encode()), host or facts(), TODAY)


def statuses(*rules, **kwargs):
    return [finding.status for finding in verdict(*rules, **kwargs).findings]


def finding(match, devices='', **fields):
    (found,) = verdict(rule(match, **fields), xml=XML % devices).findings
    return found
