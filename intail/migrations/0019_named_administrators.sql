-- Whether the operator named who is to administer the organization first, by an invitation or a link: then nobody else
-- becomes it by coming first, also once the invitation or the link is too old.
ALTER TABLE organizations ADD COLUMN administrator_named BOOLEAN NOT NULL DEFAULT FALSE;

UPDATE organizations SET administrator_named = TRUE
WHERE EXISTS (SELECT 1 FROM invitations i WHERE i.organization_id = organizations.id AND i.role = 'administrator')
    OR EXISTS (SELECT 1 FROM sign_in_links l WHERE l.organization_id = organizations.id AND l.person_id IS NULL);
