# Completion for ./netboot in bash: `source cli/completion.bash` from the checkout, or from ~/.bashrc.
_netboot() {
    local word=${COMP_WORDS[COMP_CWORD]}
    if [ "$COMP_CWORD" = 1 ]; then
        # shellcheck disable=SC2207 # words without spaces
        COMPREPLY=($(compgen -W "$("$1" help | sed -n 's/^  \([a-z]\{2,\}\) .*/\1/p')" -- "$word"))
    elif [ "$COMP_CWORD" = 2 ] && [ "${COMP_WORDS[1]}" = hosts ] && [[ $word != -* ]]; then
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -W "adopt import unknown" -- "$word"))
    elif [[ $word == -* ]]; then
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -W "--on --json --help" -- "$word"))
    fi
}
complete -F _netboot netboot ./netboot
