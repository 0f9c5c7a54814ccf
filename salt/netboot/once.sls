# Hosts that boot an entry once: the program that detects their boots, and the armed hosts.
{%- from "netboot/map.jinja" import config, order, paths, problems, service_files with context %}

include:
  - netboot.{{ 'invalid' if problems else 'http' if config.once else 'base' }}
{%- if problems %}
{%- elif config.once %}

netboot-once-packages:
  netboot_packages.installed:
    - name: Python for netboot-once
    - pkgs: {{ config.platform.packages.once | json }}

netboot-once-scripts:
  netboot_once.directory:
    - name: {{ paths.once_scripts }}
    - group: {{ config.platform.nginx.group }}
    - require:
      - netboot_packages: netboot-http-packages
      - netboot: netboot-config-applied

netboot-once-records:
  file.directory:
    - name: {{ paths.once_records }}
    - user: root
    - group: root
    - mode: '0700'
    - require:
      - netboot: netboot-config-applied

netboot-once-libraries:
  netboot_file.libraries:
    - name: {{ paths.programs }}/once
    - libraries: [netboot_installing]
{%- if config.installs %}

# Answers of hosts that are installed: root writes them, nginx reads those that are served.
netboot-once-answers:
  netboot_once.directory:
    - name: {{ paths.answers }}
    - group: {{ config.platform.nginx.group }}
    - require:
      - netboot_once: netboot-once-scripts

netboot-once-served:
  netboot_once.directory:
    - name: {{ paths.answers }}/served
    - group: {{ config.platform.nginx.group }}
    - mode: '2750'
    - require:
      - netboot_once: netboot-once-answers

netboot-once-installs:
  file.directory:
    - name: {{ paths.install_records }}
    - user: root
    - group: root
    - mode: '0700'
    - require:
      - netboot: netboot-config-applied
{%- endif %}

{%- set grub = config.secure_boot.values() | selectattr('way', 'equalto', 'grub') | list %}
{%- if grub %}

# Scripts of armed hosts for an image's own GRUB, which loads them over TFTP.
netboot-once-grub:
  file.directory:
    - name: {{ paths.grub_once }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True
    - require:
      - netboot: netboot-config-applied
{%- endif %}

netboot-once-program:
  file.managed:
    - name: {{ paths.once_program }}
    - source: salt://netboot/files/netboot-once
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True

netboot-once-unit:
  netboot_file.written:
    - name: {{ paths.units }}/netboot-once.service
    - source: salt://netboot/files/netboot-once.service.jinja

netboot-once-service:
  netboot_service.current:
    - name: netboot-once
    - files: {{ service_files['netboot-once'] | json }}
    - require:
      - netboot_packages: netboot-once-packages
      - netboot_once: netboot-once-scripts
      - file: netboot-once-records
      - file: netboot-once-program
      - netboot_file: netboot-once-libraries
      - netboot_file: netboot-once-unit
{%- if grub %}
      - file: netboot-once-grub
{%- endif %}
{%- if config.installs %}
      - netboot_once: netboot-once-served
      - file: netboot-once-installs
{%- endif %}

# Only when boots can be detected. After the images are ready, before the last menus.
netboot-once-armed:
  netboot_once.armed:
    - name: hosts
    - order: {{ order.armed }}
    - require:
      - file: netboot-staging
      - netboot_service: netboot-http-service
      - netboot_service: netboot-once-service
{%- else %}

netboot-once-armed:
  netboot_once.armed:
    - name: hosts
    - require:
      - file: netboot-staging

netboot-once-service:
  netboot_service.absent:
    - name: netboot-once
    - files: {{ service_files['netboot-once'] | json }}
{%- endif %}
