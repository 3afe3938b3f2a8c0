# SPDX-License-Identifier: Apache-2.0
"""What the cases of all profiles share: the files profile-NAME.yaml, and the host that a case states."""

import pathlib

import yaml
from virtguard import model

HERE = pathlib.Path(__file__).resolve().parent


def no_probe(name, subject):
    return None


def facts(os, stated, probe=no_probe):
    """A host of this release, but for what is stated; `unknown` cannot be read."""
    values = dict({'arch': 'x86_64', 'container': 'none', 'os': os}, **stated)
    values = {fact: None if value == 'unknown' else value for fact, value in values.items()}
    return model.HostFacts(values['arch'], values['container'], values['os'], probe)


def read_cases(profiles):
    """Of each case: the profile, the rule, its name, and what its file says of it."""
    for profile in profiles:
        rules = yaml.safe_load((HERE / ('profile-%s.yaml' % profile)).read_text(encoding='utf-8'))
        for rule in rules:
            for name, given in rules[rule].items():
                yield profile, rule, name, given
