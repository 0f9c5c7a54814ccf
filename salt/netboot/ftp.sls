# Anonymous FTP for the boot entries of method ftp: a vsftpd of its own configuration.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
  - netboot.ports
{%- if not problems %}
{%- set ftp = config.platform.ftp %}
{%- if 'ftp' in config.serves %}

netboot-ftp-packages:
  netboot.packages_installed:
    - name: FTP server
    - pkgs: {{ config.platform.packages.ftp | json }}
    - silence: {{ ftp.silence | json }}

netboot-ftp-config:
  file.managed:
    - name: /etc/netboot/vsftpd.conf
    - source: salt://netboot/files/vsftpd.conf.jinja
    - template: jinja
    - context:
        config: {{ config | json }}
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    # vsftpd has no checker; that it has no client it says, to where that would be, once it has read
    # the whole file.
    - check_cmd: >-
        sh -c 'said=$(mktemp); timeout 10 vsftpd "$0" -olisten=NO 0<>"$said";
        cat "$said"; grep -q "must be started from inetd" "$said"; read=$?; rm "$said"; exit $read'
    - require:
      - netboot: netboot-ftp-packages

netboot-ftp-unit:
  file.managed:
    - name: /etc/systemd/system/netboot-vsftpd.service
    - source: salt://netboot/files/netboot-vsftpd.service
    - user: root
    - group: root
    - mode: '0644'
    - require:
      - netboot: netboot-ftp-packages

netboot-ftp-service:
  netboot_service.current:
    - name: netboot-vsftpd
    - files: [/etc/netboot/vsftpd.conf, /etc/systemd/system/netboot-vsftpd.service]
    - require:
      - file: netboot-ftp-config
      - file: netboot-ftp-unit
      - file: netboot-root
{%- else %}

netboot-ftp-service:
  netboot_service.absent:
    - name: netboot-vsftpd
    - files: [/etc/systemd/system/netboot-vsftpd.service, /etc/netboot/vsftpd.conf]
{%- endif %}
{%- endif %}
