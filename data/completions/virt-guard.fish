# SPDX-License-Identifier: Apache-2.0
#
# TAB for virt-guard in fish. The command itself says what can stand there; fish quotes it.

function __virt_guard_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer (command virt-guard __complete fish $words[2..-1] "$current" 2>/dev/null </dev/null)
    printf '%s\n' $answer[2..-1]
    # Files, as of a command that fish knows nothing of.
    set -l begin (string match -r -- '^--[^=]+=' "$current")
    set -l rest (string replace -r -- '^--[^=]+=' '' "$current")
    switch "$answer[1]"
        case files
            printf "$begin%s\n" (complete -C"'' $rest")
        case directories
            printf "$begin%s\n" (complete -C"'' $rest" | string match -r '.*/$')
    end
end

complete -c virt-guard -f -a '(__virt_guard_complete)'
