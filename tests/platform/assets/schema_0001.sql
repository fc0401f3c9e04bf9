BEGIN TRANSACTION;
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE resources (
	kind VARCHAR(32) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	arn VARCHAR(512) NOT NULL, 
	id VARCHAR(32) NOT NULL, 
	home VARCHAR(4096) NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	modified_at DOUBLE NOT NULL, 
	revision INTEGER NOT NULL, 
	request JSON NOT NULL, 
	state JSON NOT NULL, 
	PRIMARY KEY (kind, name), 
	UNIQUE (arn)
);
INSERT INTO "resources" VALUES('training-job','kept','arn:aws:sagemaker:us-east-1:000000000000:training-job/kept','00000000000000000000000000000000','/home/sage/.wildsage','Completed',1.0,2.0,1,'{"HyperParameters": {"epochs": "5"}}','{"marks": [["Starting", 1.0], ["Completed", 2.0]], "model": "/home/sage/.wildsage/artifacts/kept/output/model.tar.gz"}');
CREATE TABLE tags (
	arn VARCHAR(512) NOT NULL, 
	"key" VARCHAR(128) NOT NULL, 
	value VARCHAR(256) NOT NULL, 
	PRIMARY KEY (arn, "key"), 
	FOREIGN KEY(arn) REFERENCES resources (arn) ON DELETE CASCADE
);
INSERT INTO "tags" VALUES('arn:aws:sagemaker:us-east-1:000000000000:training-job/kept','team','birds');
CREATE INDEX resources_by_status ON resources (kind, status, name);
CREATE INDEX resources_by_creation ON resources (kind, created_at, name);
COMMIT;
