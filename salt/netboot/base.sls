# Directories that the other states use, and the configuration: resolved first, so that every state
# can read it, and put on record once no other program holds a needed port.
{%- from "netboot/map.jinja" import config, order, paths, problems, warnings with context %}
{%- if problems %}

include:
  - netboot.invalid
{%- else %}
{%- if config.selinux %}

include:
  - netboot.selinux
{%- endif %}

netboot-config-resolved:
  netboot.config_resolved:
    - name: pillar netboot
    - config: {{ config | json }}
    - order: {{ order.resolved }}
    # Nothing else runs on a machine with records of a newer version.
    - failhard: True

netboot-root:
  file.directory:
    - names:
      - {{ config.root }}
      - {{ paths.dist }}
      - {{ paths.tftp }}
      - {{ paths.trees }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True

# Unverified and half-built files: on the root's file system, closed to every service.
netboot-staging:
  file.directory:
    - name: {{ paths.staging }}
    - user: root
    - group: root
    - mode: '0700'
    - require:
      - file: netboot-root

netboot-config-applied:
  netboot.config_applied:
    - name: pillar netboot
    - warnings: {{ warnings | json }}
{%- endif %}
