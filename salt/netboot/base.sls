# Folders that the other states work in, and the configuration on record.
{%- from "netboot/map.jinja" import config, problems, warnings with context %}
{%- if problems %}

include:
  - netboot.invalid
{%- else %}
{%- if config.selinux %}

include:
  - netboot.selinux
{%- endif %}

netboot-root:
  file.directory:
    - names:
      - {{ config.root }}
      - {{ config.root }}/dist
      - {{ config.root }}/tftp
      - {{ config.root }}/tftp/netboot
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True

# Unverified and half-built files: on the filesystem of the root, and closed to every service.
netboot-staging:
  file.directory:
    - name: {{ config.root }}/.staging
    - user: root
    - group: root
    - mode: '0700'
    - require:
      - file: netboot-root

netboot-config-applied:
  netboot.config_applied:
    - name: config
    - config: {{ config | json }}
    - warnings: {{ warnings | json }}
{%- endif %}
