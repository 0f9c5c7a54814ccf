# Hosts that boot something once: the program that sees them boot, and who is armed.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'http' if config.once else 'base' }}
{%- if problems %}
{%- elif config.once %}

netboot-once-packages:
  netboot.packages_installed:
    - name: Python for netboot-once
    - pkgs: {{ config.platform.packages.once | json }}

netboot-once-scripts:
  file.directory:
    - name: {{ config.root }}/tftp/once
    - user: root
    - group: root
    - mode: '0755'
    - require:
      - file: netboot-root

netboot-once-records:
  file.directory:
    - name: /var/lib/netboot/once
    - user: root
    - group: root
    - mode: '0700'
    - require:
      - netboot: netboot-config-applied

netboot-once-program:
  file.managed:
    - name: /usr/local/lib/netboot/netboot-once
    - source: salt://netboot/files/netboot-once
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True

netboot-once-unit:
  file.managed:
    - name: /etc/systemd/system/netboot-once.service
    - source: salt://netboot/files/netboot-once.service.jinja
    - template: jinja
    - context:
        config: {{ config | json }}
    - user: root
    - group: root
    - mode: '0644'

netboot-once-service:
  netboot_service.current:
    - name: netboot-once
    - files:
      - /usr/local/lib/netboot/netboot-once
      - /etc/systemd/system/netboot-once.service
    - require:
      - netboot: netboot-once-packages
      - file: netboot-once-scripts
      - file: netboot-once-records
      - file: netboot-once-program
      - file: netboot-once-unit

# Nobody is armed while nobody would see the boot. When the images are ready, before the last menus.
netboot-once-armed:
  netboot_once.armed:
    - name: {{ config.root }}/tftp/once
    - config: {{ config | json }}
    - staging: {{ config.root }}/.staging
    - order: 89990
    - require:
      - file: netboot-staging
      - netboot_service: netboot-http-service
      - netboot_service: netboot-once-service
{%- else %}

netboot-once-armed:
  netboot_once.armed:
    - name: {{ config.root }}/tftp/once
    - config: {{ config | json }}
    - staging: {{ config.root }}/.staging
    - require:
      - file: netboot-staging

netboot-once-service:
  netboot_service.absent:
    - name: netboot-once
    - files: [/etc/systemd/system/netboot-once.service, /usr/local/lib/netboot/netboot-once]
{%- endif %}
