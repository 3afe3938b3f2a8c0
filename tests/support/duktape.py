# SPDX-License-Identifier: Apache-2.0
"""The engine that polkit runs its rules in, to ask a file of rules many questions at once."""

import ctypes
import glob
import json
from typing import Any, Dict, List, Optional

from support.capabilities import missing

# What duk_peval_string() hands on: evaluate, safely, without keeping the source; and so with a length.
_FLAGS = 8 | 128 | 512 | 2048
# As polkit's own, as far as rules use it.
_POLKIT = """
var asked = [], said = [], polkit = {
    Result: {NO: "no", YES: "yes", NOT_HANDLED: null},
    addRule: function (rule) { asked.push(rule); },
    log: function (text) { said.push(text); }
};
function answer(id, details, user, groups) {
    var action = {id: id, lookup: function (key) { return details[key]; }},
        subject = {user: user, isInGroup: function (group) { return groups.indexOf(group) >= 0; }}, i, found;
    for (i = 0; i < asked.length; i += 1) {
        found = asked[i](action, subject);
        if (found) {
            return found;
        }
    }
    return "not handled";
}
"""


class Rules:
    """A file of rules, loaded; `day`, if it is given, is what it takes for today (YYYY-MM-DD)."""

    def __init__(self, text: str, day: Optional[str] = None) -> None:
        found = glob.glob('/usr/lib/*/libduktape.so.*')
        if not found:
            missing('libduktape is not installed (package polkitd)')
        self._library = ctypes.CDLL(sorted(found)[0])
        self._library.duk_create_heap.restype = ctypes.c_void_p
        self._library.duk_safe_to_lstring.restype = ctypes.c_char_p
        self._heap = ctypes.c_void_p(self._library.duk_create_heap(None, None, None, None, None))
        self._evaluate(_POLKIT)
        if day is not None:
            year, month, number = map(int, day.split('-'))
            self._evaluate(
                'var Real = Date; Date = function () { return new Real(%d, %d, %d, 12); }' % (year, month - 1, number)
            )
        self._evaluate(text)

    def answer(self, action: str, details: Dict[str, str], user: str = 'op', groups: Optional[List[str]] = None) -> str:
        """What the rules say: yes, no, or not handled."""
        for key, value in details.items():
            # As polkit does: of UTF-8, the engine makes other strings than of a script.
            data = value.encode('utf-8')
            self._library.duk_push_lstring(self._heap, data, ctypes.c_size_t(len(data)))
            self._library.duk_put_global_string(self._heap, b'detail_' + key.encode('ascii'))
        given = '{%s}' % ', '.join('%s: detail_%s' % (key, key) for key in details)
        words = json.dumps(user), json.dumps(['libvirt'] if groups is None else groups)
        return self._evaluate('answer(%s, %s, %s, %s)' % (json.dumps(action), given, *words))

    def said(self) -> List[str]:
        """What the rules have logged."""
        found: Any = json.loads(self._evaluate('JSON.stringify(said)'))
        return list(found)

    def _evaluate(self, script: str) -> str:
        data = script.encode('utf-8')
        failed = self._library.duk_eval_raw(self._heap, data, ctypes.c_size_t(len(data)), _FLAGS)
        text = self._library.duk_safe_to_lstring(self._heap, -1, None).decode('utf-8', 'surrogatepass')
        self._library.duk_pop(self._heap)
        if failed:
            raise ValueError(text)
        return str(text)

    def close(self) -> None:
        self._library.duk_destroy_heap(self._heap)
