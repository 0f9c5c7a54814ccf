# What clients did, as the web server logged it: kept by address, bounded.
{%- from "netboot/map.jinja" import config, paths, problems, service_files with context %}

include:
  - netboot.{{ 'invalid' if problems else 'http' }}
{%- if not problems %}

netboot-clients-packages:
  netboot_packages.installed:
    - name: Python for netboot-clients
    - pkgs: {{ config.platform.packages.once | json }}

netboot-clients-store:
  file.directory:
    - name: {{ paths.clients }}
    - user: root
    - group: root
    - mode: '0700'
    - require:
      - netboot: netboot-config-applied

netboot-clients-program:
  file.managed:
    - name: {{ paths.clients_program }}
    - source: salt://netboot/files/netboot-clients
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True

netboot-clients-service:
  netboot_file.written:
    - name: {{ paths.units }}/netboot-clients.service
    - source: salt://netboot/files/netboot-clients.service.jinja

netboot-clients-timer:
  netboot_file.written:
    - name: {{ paths.units }}/netboot-clients.timer
    - source: salt://netboot/files/netboot-clients.timer.jinja

netboot-clients:
  netboot_service.current:
    - name: netboot-clients.timer
    - files: {{ service_files['netboot-clients.timer'] | json }}
    - reload: [systemctl, daemon-reload]
    - require:
      - netboot_packages: netboot-clients-packages
      - file: netboot-clients-store
      - file: netboot-clients-program
      - netboot_file: netboot-clients-service
      - netboot_file: netboot-clients-timer
{%- endif %}
