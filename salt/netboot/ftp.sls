# Anonymous FTP for the boot entries of method ftp: a separate vsftpd with its own configuration.
{%- from "netboot/map.jinja" import config, paths, problems, service_files with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
  - netboot.ports
{%- if not problems %}
{%- set ftp = config.platform.ftp %}
{%- if 'ftp' in config.serves %}

netboot-ftp-packages:
  netboot_packages.installed:
    - name: FTP server
    - pkgs: {{ config.platform.packages.ftp | json }}
    - silence: {{ ftp.silence | json }}

netboot-ftp-config:
  file.managed:
    - name: {{ paths.vsftpd }}
    - source: salt://netboot/files/vsftpd.conf.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    # vsftpd has no checker. Once it has read the whole file, it reports that it has no client, on
    # the file descriptor where the client should be.
    - check_cmd: >-
        sh -c 'said=$(mktemp); timeout 10 vsftpd "$0" -olisten=NO 0<>"$said";
        cat "$said"; grep -q "must be started from inetd" "$said"; read=$?; rm "$said"; exit $read'
    - require:
      - netboot_packages: netboot-ftp-packages

netboot-ftp-unit:
  netboot_file.written:
    - name: {{ paths.units }}/netboot-vsftpd.service
    - source: salt://netboot/files/netboot-vsftpd.service.jinja
    - require:
      - netboot_packages: netboot-ftp-packages

netboot-ftp-service:
  netboot_service.current:
    - name: netboot-vsftpd
    - files: {{ service_files['netboot-vsftpd'] | json }}
    - waits: true
    - require:
      - file: netboot-ftp-config
      - netboot_file: netboot-ftp-unit
      - file: netboot-root
{%- else %}

netboot-ftp-service:
  netboot_service.absent:
    - name: netboot-vsftpd
    - files: {{ service_files['netboot-vsftpd'] | json }}
{%- endif %}
{%- endif %}
