# Removes what the other SLS installed on this machine, in the order that affects clients least.
# Packages stay. Images stay unless the pillar says netboot:clean_images: true.
{%- set cleans = true %}
{%- from "netboot/map.jinja" import config, paths, problems, service_files with context %}
{%- if problems %}

include:
  - netboot.invalid
{%- else %}
{%- set platform = config.platform %}

netboot-clean-resolved:
  netboot.config_resolved:
    - name: pillar netboot
    - config: {{ config | json }}
    # Nothing is removed beside records of a newer version.
    - failhard: True

{%- for service, files in service_files | dictsort %}

netboot-clean-{{ service[8:] }}:
  netboot_service.absent:
    - name: {{ service }}
    - files: {{ files | json }}
{%- endfor %}

netboot-clean-site:
  netboot_http.site_absent:
    - name: {{ platform.nginx.directory }}/{{ platform.nginx.site }}

netboot-clean-shares:
  netboot_exports.smb_absent:
    - name: {{ platform.smb.config }}
    - include: {{ platform.smb.include }}

netboot-clean-exports:
  file.absent:
    - name: {{ platform.nfs.exports }}

{%- for facility in platform.nfs.control %}

netboot-clean-control-{{ facility }}:
  netboot_control.restored:
    - name: {{ facility }}
    - services: [{{ facility }}, {{ platform.nfs.service }}]
{%- endfor %}

# Each only if it runs: the packages may never have been installed.
{%- for state, module, command in [
    ('site', 'netboot_http', 'systemctl try-reload-or-restart ' ~ platform.nginx.service),
    ('shares', 'netboot_exports', 'systemctl try-reload-or-restart ' ~ platform.smb.service),
    ('exports', 'file', 'exportfs -ra'),
] %}

netboot-clean-{{ state }}-read:
  cmd.run:
    - name: {{ command }}
    - onchanges:
      - {{ module }}: netboot-clean-{{ state }}
{%- endfor %}

netboot-clean-metrics:
  netboot_file.metrics:
    - name: metrics
    - file: ''
    - require:
      - netboot_service: netboot-clean-clients.timer

netboot-clean-directories:
  file.absent:
    - names: {{ [
        paths.passwords, paths.programs, paths.leases, platform.nginx.once_log,
        config.clients_log, config.clients_log ~ '.read', paths.clients, paths.status, paths.answers,
      ] | json }}
{%- if opts.get('file_client') == 'remote' %}

{%- for job in ('netboot', 'netboot-events') %}

netboot-clean-schedule-{{ job }}:
  schedule.absent:
    - name: {{ job }}
{%- endfor %}
{%- endif %}

{%- if opts.get('file_client') == 'remote' and (config.site or config.mirror != 'off') %}

netboot-clean-shared:
  netboot_mirror.unshared:
    - name: ISOs
{%- endif %}

netboot-clean-admins:
  netboot_admins.absent:
    - name: admins

netboot-clean-firewall:
  netboot_firewall.closed:
    - name: firewall

netboot-clean-served:
  netboot_clean.served:
    - name: served files
    - images: {{ config.clean_images | json }}
    - require:
      {%- for service in service_files %}
      - netboot_service: netboot-clean-{{ service[8:] }}
      {%- endfor %}
      - netboot_http: netboot-clean-site
      - file: netboot-clean-exports
      - file: netboot-clean-directories
      - netboot_exports: netboot-clean-shares
      {%- for facility in platform.nfs.control %}
      - netboot_control: netboot-clean-control-{{ facility }}
      {%- endfor %}
      - netboot_admins: netboot-clean-admins
      - netboot_firewall: netboot-clean-firewall
{%- if config.selinux %}

netboot-clean-selinux:
  netboot_selinux.unlabeled:
    - names: {{ [config.root, paths.once_scripts, paths.answers, paths.page, paths.leases, paths.programs] | json }}
    - require:
      - netboot_clean: netboot-clean-served
{%- endif %}
{%- endif %}
