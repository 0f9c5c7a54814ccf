# iPXE boot loaders in the TFTP root.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems %}

netboot-firmware-packages:
  netboot.packages_installed:
    - name: boot loaders
    - pkgs: {{ config.platform.packages.firmware | json }}

netboot-firmware:
  netboot.firmware_copied:
    - name: {{ config.root }}/tftp
    - files: {{ config.boot_files | json }}
    - staging: {{ config.root }}/.staging
    - require:
      - netboot: netboot-firmware-packages
      - file: netboot-staging

# When all images were looked into.
netboot-firmware-complete:
  netboot.firmware_complete:
    - name: {{ config.root }}/tftp
    - config: {{ config | json }}
    - order: 90000
{%- endif %}
