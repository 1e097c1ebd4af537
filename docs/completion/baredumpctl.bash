# Completion of baredumpctl(8) for bash. What is not answered here is a file name (complete -o default).

_baredumpctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} words
    COMPREPLY=()
    # bash takes "--option=value" for three words.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi

    local verbs='image arm claim disarm status estimate presign help'
    if ((COMP_CWORD == 1)); then
        case $cur in
        -*) words='-h --help -V --version' ;;
        *) words=$verbs ;;
        esac
    else
        case $verb:$prev in
        image:--config | image:--kernel-config | image:--binary | image:-o | image:--output) return ;;
        presign:--credentials | presign:-o | presign:--output) return ;;
        arm:--kernel | arm:--image | estimate:--kernel | estimate:--image | estimate:--kernel-config) return ;;
        image:--modules-dir | image:--firmware-dir | image:--modprobe-dir)
            compopt -o dirnames +o default
            return
            ;;
        image:--kernel-release | arm:--kernel-release | estimate:--kernel-release) words=$(ls /lib/modules 2>/dev/null) ;;
        image:--compress) words='zstd gzip none' ;;
        image:--filesystem) words='ext4 xfs btrfs vfat' ;;
        image:--target | image:--module | arm:--append | arm:--remove) ;;
        presign:--expires | presign:--room | presign:--dir) ;;
        image:*)
            words='--kernel-release --modules-dir --kernel-config --config --target --module --filesystem'
            words+=' --no-probe --binary --firmware-dir --modprobe-dir --compress -o --output -h --help'
            ;;
        arm:*) words='--kernel --image --kernel-release --append --remove --print --again -h --help' ;;
        claim:*) [[ $cur == -* ]] && words='--force -h --help' || words=$(compgen -f /dev/) ;;
        disarm:*) words='-h --help' ;;
        estimate:*) words='--kernel --kernel-release --kernel-config --image -h --help' ;;
        status:*) words='--json -h --help' ;;
        presign:*) words='--credentials --expires --room --dir --sealed --plaintext-log -o --output -h --help' ;;
        help:*) words=$verbs ;;
        esac
    fi
    if [[ -n $words ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    fi
    # No verb takes a file name of its own.
    compopt +o default
}

complete -o default -F _baredumpctl baredumpctl
