# Takes back what the other SLS put on this machine, in the order in which clients notice it least.
# Packages stay. Images stay unless the pillar says netboot:clean_images: true.
{%- from "netboot/map.jinja" import config, problems with context %}
{%- if problems %}

include:
  - netboot.invalid
{%- else %}
{%- set platform = config.platform %}

{%- for service, files in [
    ('dnsmasq', ['/etc/netboot/dnsmasq.conf']),
    ('once', ['/usr/local/lib/netboot/netboot-once', platform.nginx.once_log]),
    ('vsftpd', ['/etc/netboot/vsftpd.conf']),
] %}

netboot-clean-{{ service }}:
  netboot_service.absent:
    - name: netboot-{{ service }}
    - files: {{ (files + ['/etc/systemd/system/netboot-' ~ service ~ '.service']) | json }}
{%- endfor %}

netboot-clean-site:
  file.absent:
    - name: {{ platform.nginx.folder }}/{{ platform.nginx.site }}

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

# Each only where it runs: the packages may never have been installed.
{%- for state, module, command in [
    ('site', 'file', 'systemctl try-reload-or-restart ' ~ platform.nginx.service),
    ('shares', 'netboot_exports', 'systemctl try-reload-or-restart ' ~ platform.smb.service),
    ('exports', 'file', 'exportfs -ra'),
] %}

netboot-clean-{{ state }}-read:
  cmd.run:
    - name: {{ command }}
    - onchanges:
      - {{ module }}: netboot-clean-{{ state }}
{%- endfor %}

netboot-clean-folders:
  file.absent:
    - names: [/etc/netboot/htpasswd, /usr/local/lib/netboot, /var/lib/netboot-dnsmasq]
{%- if opts.get('file_client') == 'remote' %}

netboot-clean-schedule:
  schedule.absent:
    - name: netboot
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
      {%- for service in ('dnsmasq', 'once', 'vsftpd') %}
      - netboot_service: netboot-clean-{{ service }}
      {%- endfor %}
      - file: netboot-clean-site
      - file: netboot-clean-exports
      - file: netboot-clean-folders
      - netboot_exports: netboot-clean-shares
      {%- for facility in platform.nfs.control %}
      - netboot_control: netboot-clean-control-{{ facility }}
      {%- endfor %}
      - netboot_admins: netboot-clean-admins
      - netboot_firewall: netboot-clean-firewall
{%- if config.selinux %}

netboot-clean-selinux:
  netboot_selinux.unlabeled:
    - names: [{{ config.root }}, /var/lib/netboot-dnsmasq, /usr/local/lib/netboot]
    - require:
      - netboot_clean: netboot-clean-served
{%- endif %}
{%- endif %}
