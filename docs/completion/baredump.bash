# Completion of baredump(1) for bash. What is not answered here is a file name (complete -o default).

_baredump() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} words
    COMPREPLY=()
    # bash takes "--option=value" for three words.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi

    local dump='-d --level -L --limit -i --vmcoreinfo --dry-run -z -c -l -p --compress --format -E -F --flatten --stream -f --force --num-threads --non-mmap --strict-makedumpfile --message-level -h --help'
    local foreign='-R --split --splitblock-size --mem-usage --reassemble --dump-dmesg --partial-dmesg --check-params --show-stats --vtop -D -v'
    if ((COMP_CWORD == 1)); then
        case $cur in
        -*) words="-h --help -V --version $dump $foreign" ;;
        *) words='dump dmesg info rearrange decrypt recover verify' ;;
        esac
    else
        case $verb:$prev in
        dump:-d | dump:--level | -*:-d | -*:--level) words=$(echo {0..31}) ;;
        dump:--compress | -*:--compress) words='zstd zstd-fast zlib lzo snappy none' ;;
        dump:--format | -*:--format) words='kdump elf raw' ;;
        dump:--stream | -*:--stream) words='lz4 zstd' ;;
        dump:--message-level | -*:--message-level) words=$(echo {0..31}) ;;
        dump:--num-threads | -*:--num-threads | dump:-L | -*:-L | dump:--limit | -*:--limit | -*:--vtop) compopt +o default ;;
        dump:-i | -*:-i | dump:--vmcoreinfo | -*:--vmcoreinfo) ;;
        dump:*) [[ $cur != -* ]] || words=$dump ;;
        -*:*) [[ $cur != -* ]] || words="$dump $foreign" ;;
        dmesg:*) [[ $cur != -* ]] || words='--raw --json --no-caller --partial -h --help' ;;
        decrypt:-i | decrypt:--identity | decrypt:-o | decrypt:--output) ;;
        decrypt:*) [[ $cur != -* ]] || words='-i --identity -o --output -f --force -h --help' ;;
        verify:*) [[ $cur != -* ]] || words='-h --help' ;;
        recover:*) [[ $cur != -* ]] || words='-k --keep -h --help' ;;
        rearrange:*) [[ $cur != -* ]] || words='-f --force -h --help' ;;
        info:*) [[ $cur != -* ]] || words='--json -h --help' ;;
        esac
    fi
    [[ -z $words ]] || mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -o default -F _baredump baredump
