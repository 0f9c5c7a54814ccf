# NFS exports for the boot entries of method nfs. Other exports of the machine stay unchanged.
{%- from "netboot/map.jinja" import config, order, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems %}
{%- set nfs = config.platform.nfs %}
{%- if 'nfs' in config.serves %}

netboot-nfs-packages:
  netboot_packages.installed:
    - name: NFS server
    - pkgs: {{ config.platform.packages.nfs | json }}
{%- for facility in nfs.control %}

netboot-nfs-control-{{ facility }}:
  netboot_control.server:
    - name: {{ facility }}
    - services: [{{ facility }}, {{ nfs.service }}]
    - require:
      - netboot_packages: netboot-nfs-packages
{%- endfor %}

# After the images, as each loop mount is exported separately.
netboot-nfs-exports:
  netboot_exports.nfs:
    - name: {{ nfs.exports }}
    - order: {{ order.exports }}
    - require:
      - netboot_packages: netboot-nfs-packages

netboot-nfs-service:
  netboot_service.current:
    - name: {{ nfs.service }}
    - files: [{{ nfs.exports }}]
    - reload: [exportfs, -ra]
    - order: {{ order.exported }}
    - require:
      - netboot_exports: netboot-nfs-exports
{%- else %}

netboot-nfs-exports:
  file.absent:
    - name: {{ nfs.exports }}

netboot-nfs-unexported:
  cmd.run:
    - name: exportfs -ra
    - onchanges:
      - file: netboot-nfs-exports
{%- for facility in nfs.control %}

netboot-nfs-control-{{ facility }}:
  netboot_control.restored:
    - name: {{ facility }}
    - services: [{{ facility }}, {{ nfs.service }}]
{%- endfor %}
{%- endif %}
{%- endif %}
