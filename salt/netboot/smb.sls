# SMB shares for the boot entries of method cifs. Shares that the machine already serves stay.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
  - netboot.ports
{%- if not problems %}
{%- set smb = config.platform.smb %}
{%- set on = 'cifs' in config.serves %}
{%- if on %}

netboot-smb-packages:
  netboot_packages.installed:
    - name: SMB server
    - pkgs: {{ config.platform.packages.smb | json }}
{%- endif %}

netboot-smb-shares:
  netboot_exports.smb{{ '' if on else '_absent' }}:
    - name: {{ smb.config }}
    - include: {{ smb.include }}
    {%- if on %}
    - require:
      - netboot_packages: netboot-smb-packages
    {%- endif %}
{%- if on %}

netboot-smb-service:
  netboot_service.current:
    - name: {{ smb.service }}
    # Not smb.conf, which is the admin's: what is put back when Samba does not run is ours alone.
    - files: [{{ smb.include }}]
    - reload: true
    - require:
      - netboot_exports: netboot-smb-shares
{%- endif %}
{%- endif %}
